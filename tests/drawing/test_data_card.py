"""The card of a data set: how it is laid out, and that every image and every word has a place of its own."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from ddpm.drawing.data_card import EDGE, GAP, LABEL_PIXELS, MARGIN, WIDEST_PIXELS, Group, Layout, data_card, plan
from ddpm.drawing.lettering import face_for, has_letters, shorten, wrap
from ddpm.drawing.look import BLUE, type_face

LONG = "a name that nobody would give to a class, but somebody always does, and then it goes on"


def flat(values: list[int], shape: tuple[int, int, int] = (16, 16, 3)) -> np.ndarray:
    """Images that are each filled with one level."""
    return np.array(values, dtype=np.uint8)[:, None, None, None] * np.ones(shape, dtype=np.uint8)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def count(picture: Image.Image, color: str) -> int:
    return int((pixels(picture) == ImageColor.getrgb(color)).all(axis=-1).sum())


@pytest.mark.parametrize("side", [4, 8, 16, 28, 32, 64, 96, 128, 200, 256, 300, 512, 1024])
@pytest.mark.parametrize("labeled", [True, False])
def test_small_images_are_enlarged_and_large_ones_shrunk(side: int, labeled: bool) -> None:
    layout = plan(side, side, 2 if labeled else 1, 5000, labeled=labeled)
    tile = -(-side * layout.zoom // layout.shrink)
    assert 80 <= tile <= 256
    assert layout.zoom == 1 or layout.shrink == 1
    width = 2 * MARGIN + layout.columns * (tile + 2 + GAP) - GAP + (LABEL_PIXELS + 28 if labeled else 0)
    assert 1600 < width <= WIDEST_PIXELS


def test_images_of_the_papers_sizes() -> None:
    found = {side: plan(side, side, 1, 5000, labeled=False) for side in (16, 32, 64, 256)}
    assert {side: (layout.zoom, layout.shrink) for side, layout in found.items()} == {
        16: (8, 1),
        32: (4, 1),
        64: (2, 1),
        256: (1, 1),
    }
    assert plan(256, 256, 16, 5000, labeled=True).shrink == 2  # so that 16 rows fit a page


@pytest.mark.parametrize(("height", "width"), [(4, 256), (256, 4), (16, 64), (1024, 512), (1024, 16)])
def test_long_images_fit_too(height: int, width: int) -> None:
    layout = plan(height, width, 3, 5000, labeled=True)
    images = np.zeros((layout.group_images, height, width, 1), np.uint8)
    card = data_card("long", [], [Group(LONG, "1", 1, images)] * 3, layout)
    assert card.width <= WIDEST_PIXELS


def test_few_classes_get_several_rows_and_many_get_one() -> None:
    few, many = plan(64, 64, 2, 5000, labeled=True), plan(64, 64, 16, 5000, labeled=True)
    assert few.group_images == 5 * few.columns
    assert many.group_images == many.columns


def test_a_wish_and_small_classes_make_fewer_columns() -> None:
    assert plan(64, 64, 2, 5000, labeled=True, wanted=9).group_images == 4
    assert plan(64, 64, 5, 5000, labeled=True, wanted=1) == Layout(1, 1, 2, 1)
    assert plan(64, 64, 2, 3, labeled=True).columns == 3
    assert plan(64, 64, 1, 5000, labeled=False, wanted=500).group_images == 500


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_stands_in_its_place_within_a_line(channels: int) -> None:
    layout, levels = Layout(columns=3, group_images=5, zoom=2, shrink=1), [10, 20, 30, 40, 50]
    card = pixels(data_card("t", [], [Group("", "", 5, flat(levels, (16, 16, channels)))], layout))
    pitch = 2 * 16 + 2 + GAP
    top = int(np.flatnonzero((card[:, MARGIN] == ImageColor.getrgb(EDGE)).all(axis=-1))[0])
    for number, level in enumerate(levels):
        y, x = top + number // 3 * pitch, MARGIN + number % 3 * pitch
        assert (card[y + 1 : y + 33, x + 1 : x + 33] == level).all()
        assert (card[y : y + 34, [x, x + 33]] == ImageColor.getrgb(EDGE)).all()
        assert (card[y : y + 34, x + 34 : x + 34 + GAP] == 255).all()
    assert (card[top + pitch : top + 2 * pitch, MARGIN + 2 * pitch :] == 255).all()  # the sixth place is empty


def test_shrinking_takes_means() -> None:
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[0, :2, 1] = 200  # the mean of the two left columns of its square: 100
    card = pixels(data_card("", [], [Group("", "", 1, image)], Layout(1, 1, 1, 2)))
    top = int(np.flatnonzero((card[:, MARGIN] == ImageColor.getrgb(EDGE)).all(axis=-1))[0])
    assert card[top + 1 : top + 3, MARGIN + 1 : MARGIN + 3, 0].tolist() == [[100, 0], [0, 0]]


def test_bars_are_as_long_as_classes_are_large() -> None:
    def blue(*sizes: int) -> int:
        groups = [Group("c", f"{size}", size, flat([0] * min(size, 3))) for size in sizes]
        return count(data_card("t", [], groups, Layout(3, 3, 4, 1)), BLUE)

    whole = blue(100)
    assert whole > 500
    assert blue(100, 50) == pytest.approx(1.5 * whole, rel=0.02)
    assert blue(100, 0) == whole
    assert whole < blue(100000, 1) < 1.1 * whole  # the smallest class can still be seen


@pytest.mark.parametrize("name", ["0", LONG, "x" * 300, "Weißkopfseeadler oder Кошка, Katze, gata, kissa, kedi"])
@pytest.mark.parametrize("shape", [(16, 16, 3), (4, 64, 1)])
def test_names_of_any_length_touch_neither_images_nor_each_other(name: str, shape: tuple[int, int, int]) -> None:
    layout = Layout(2, 2, 1, 1)
    groups = [Group(name, "1,000 · 33.3%", 1, flat([0, 0], shape)) for _ in range(3)]
    card = pixels(data_card("t", [], groups, layout, ""))
    left = int(np.flatnonzero((card == ImageColor.getrgb(EDGE)).all(axis=-1).any(axis=0))[0])
    assert left <= MARGIN + LABEL_PIXELS + 29
    assert (card[:, left - 20 : left] == 255).all()
    assert (card[:, :MARGIN] == 255).all()
    inked = (card[:, MARGIN : left - 20] < 255).any(axis=(1, 2))
    bars = (card[:, MARGIN : left - 20] == ImageColor.getrgb(BLUE)).all(axis=-1).any(axis=1)
    starts = np.flatnonzero(bars[1:] & ~bars[:-1])
    assert len(starts) == 3
    for end in np.flatnonzero(bars[:-1] & ~bars[1:]):
        assert not inked[end + 1 : end + 8].any()


def test_long_titles_and_captions_are_broken_within_the_margins() -> None:
    groups = [Group("", "", 1, flat([0]))]
    short, long = (data_card(text, [text], groups, Layout(1, 1, 4, 1), text) for text in ("short", 4 * LONG))
    assert long.width == short.width
    assert long.height > short.height
    assert (pixels(long)[:, -MARGIN:] == 255).all()
    assert (pixels(long)[-MARGIN:] == 255).all()


def test_the_same_things_give_the_same_picture() -> None:
    groups = [Group(name, "1", 1, flat([7, 9])) for name in ("a", "ü")]
    cards = [data_card("t", ["c"], groups, Layout(2, 2, 4, 1), "f").tobytes() for _ in range(2)]
    assert cards[0] == cards[1]


def test_letters_beyond_ascii_come_from_another_face() -> None:
    assert face_for("dog", 20).getname() == type_face(20).getname()
    assert face_for("Hündin", 20).getname()[0] == "DejaVu Sans"
    assert has_letters("Hündin, Кошка, 5 · 1.0% …")
    assert not has_letters("猫")


def test_lines_are_broken_at_words_and_the_rest_is_cut() -> None:
    face = type_face(20)
    assert wrap("one  two\nthree", face, 1000, 2) == ["one two three"]
    assert wrap("one two three", face, face.getlength("one two "), 2) == ["one two", "three"]
    assert wrap("one two three four", face, face.getlength("one two "), 2)[1].endswith("…")
    assert wrap("", face, 100, 2) == []
    broken = wrap("x" * 30, face, face.getlength("x" * 10), 5)
    assert broken == ["x" * 10] * 3
    assert face.getlength(shorten(LONG, face, 200)) <= 200
    assert wrap("wide", face, 1, 1) == ["w…"]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="needs at least one group of images, got none"):
        data_card("t", [], [], Layout(1, 1, 1, 1))
    with pytest.raises(ValueError, match="images must be uint8"):
        data_card("t", [], [Group("", "", 1, flat([0]).astype(float))], Layout(1, 1, 1, 1))
