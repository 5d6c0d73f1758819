"""Attribute lists: one attribute or several become classes, and what is malformed or unknown is refused."""

import pytest

from ddpm.data.attributes import look_up, read_attributes

LIST = b"3\r\nBald Male Smiling \r\n1.jpg -1  1 -1\r\n2.jpg  1 -1  1\r\n\r\n3.jpg -1  1  1\r\n"


def test_an_attribute_becomes_two_classes() -> None:
    assert read_attributes("a.txt", LIST, "Smiling") == (
        {"1.jpg": 0, "2.jpg": 1, "3.jpg": 1},
        ("not Smiling", "Smiling"),
    )


def test_the_first_of_several_attributes_is_the_most_significant_bit() -> None:
    values, classes = read_attributes("a.txt", LIST, "Male+Smiling")
    assert values == {"1.jpg": 2, "2.jpg": 1, "3.jpg": 3}
    assert classes == ("not Male, not Smiling", "not Male, Smiling", "Male, not Smiling", "Male, Smiling")
    values, classes = read_attributes("a.txt", LIST, "Smiling+Bald+Male")
    assert values == {"1.jpg": 0b001, "2.jpg": 0b110, "3.jpg": 0b101}
    assert (len(classes), classes[5]) == (8, "Smiling, not Bald, Male")


def test_eight_attributes_are_256_classes_and_nine_are_refused() -> None:
    names = [f"A{number}" for number in range(9)]
    content = f"1\n{' '.join(names)}\n1.jpg{' 1' * 9}\n".encode()
    values, classes = read_attributes("a.txt", content, "+".join(names[:8]))
    assert (values, len(classes), len(set(classes))) == ({"1.jpg": 255}, 256, 256)
    with pytest.raises(
        ValueError, match=r"^params.yaml: data.labels must join at most 8 attributes, each once, got A0\+"
    ):
        read_attributes("a.txt", content, "+".join(names))


def test_an_attribute_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at most 8 attributes, each once, got Male\+Bald\+Male$"):
        read_attributes("a.txt", LIST, "Male+Bald+Male")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Smile", r"such as Smiling, Male, or several joined by \+, got Smile$"),
        ("Male+Smile", r"such as Smiling, Male, or several joined by \+, got Smile in Male\+Smile$"),
        ("Male+", r"such as Bald, Male, Smiling, or several joined by \+, got  in Male\+$"),
        ("Male Smiling", r"such as Smiling, Male, or several joined by \+, got Male Smiling$"),
        ("qqq", r"such as Bald, Male, Smiling, or several"),
    ],
)
def test_an_unknown_attribute_is_refused_with_near_ones(wanted: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^params.yaml: data.labels must be none or an attribute of a.txt {message}"):
        read_attributes("b/a.txt", LIST, wanted)
    with pytest.raises(ValueError, match=r"must be none or an attribute of a.txt"):
        read_attributes("b/a.txt", b"", wanted)


@pytest.mark.parametrize("line", [b"4.jpg -1 1", b"4.jpg -1 1 1 1", b"4.jpg -1 1 0", b"4.jpg -1 1 \xff", b"-1 1 1"])
def test_malformed_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^a.txt:7: must hold a name and 3 values -1 or 1$"):
        read_attributes("a.txt", LIST + line, "Smiling")


def test_photographs_without_a_line_are_refused() -> None:
    assert look_up("a.txt", {"1.jpg": 0, "2.jpg": 1}, ["2.jpg", "1.jpg"]).tolist() == [1, 0]
    with pytest.raises(
        ValueError, match=r"^a.txt: must have a line for each photograph, 2 lack one, first 5.jpg; download"
    ):
        look_up("a.txt", {"1.jpg": 0}, ["1.jpg", "5.jpg", "6.jpg"])
