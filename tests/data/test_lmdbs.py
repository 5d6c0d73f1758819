"""LMDB files: the keys are those that the library lists, values come back, and what is cut short is an error."""

import copy
from collections.abc import Mapping
from pathlib import Path

import lmdb
import pytest

from ddpm.data.catalog import Item
from ddpm.data.lmdbs import LmdbReader, read_keys

PAGE = 4096


def write(path: Path, values: Mapping[bytes, bytes], *, at_once: int = 100) -> Path:
    """Write some values per transaction, so that pages are freed and used again on the way."""
    keys = list(values)
    with lmdb.open(str(path), subdir=False, map_size=2**26, lock=False) as environment:
        for start in range(0, len(keys), at_once):
            with environment.begin(write=True) as transaction:
                for key in keys[start : start + at_once]:
                    transaction.put(key, values[key])
    return path


def library_keys(path: Path) -> list[str]:
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin() as reading:
        return [key.decode() for key in reading.cursor().iternext(values=False)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety values: inside a leaf, on a page of their own, on several."""
    values = {f"key-{number:03d}".encode(): bytes([number]) * (1500, 2500, 9000)[number % 3] for number in range(90)}
    return write(tmp_path_factory.mktemp("lmdb") / "data.mdb", values)


def test_keys_are_those_of_the_library_through_all_levels_of_the_tree(tmp_path: Path) -> None:
    order = [number * 7919 % 20_011 for number in range(20_011)]  # a prime: every number once, not sorted
    path = write(tmp_path / "data.mdb", {f"{number:040x}".encode(): b"value" for number in order}, at_once=3000)
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        assert environment.stat()["depth"] == 3
    assert list(read_keys(path, "place")) == library_keys(path)
    assert len(list(read_keys(path, "place"))) == 20_011


def test_values_come_back_and_two_readers_share_a_file(small: Path) -> None:
    readers = [LmdbReader((str(small),)), LmdbReader((str(small),))]
    for number, key in enumerate(read_keys(small, "place")):
        for reader in readers:
            assert reader(Item(f"any/{key}", (0,))) == bytes([number]) * (1500, 2500, 9000)[number % 3]
    assert copy.copy(readers[0])(Item("any/key-004", (0,))) == bytes([4]) * 2500
    with pytest.raises(ValueError, match=r"any/nothing: the database has no such key"):
        readers[0](Item("any/nothing", (0,)))


def test_an_empty_database_has_no_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "data.mdb", {})
    with lmdb.open(str(path), subdir=False, map_size=2**20, lock=False) as environment, environment.begin(write=True):
        pass
    assert list(read_keys(path, "place")) == []


def test_a_file_cut_short_is_refused_wherever_the_cut_is(small: Path, tmp_path: Path) -> None:
    content, path = small.read_bytes(), tmp_path / "cut.mdb"
    for length in range(0, len(content) - PAGE, PAGE // 2 + 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"place: must be a whole LMDB file .*; download it again"):
            list(read_keys(path, "place"))


def test_a_value_whose_page_is_damaged_is_an_error(small: Path, tmp_path: Path) -> None:
    content, path = bytearray(small.read_bytes()), tmp_path / "damaged.mdb"
    start = content.index(bytes([5]) * 5000) // PAGE * PAGE  # the first page of a value of 9,000 bytes
    content[start : start + 16] = b"\xff" * 16
    path.write_bytes(content)
    reader = LmdbReader((str(path),))
    with pytest.raises(ValueError, match=r"any/key-005: the database cannot be read"):
        reader(Item("any/key-005", (0,)))
    assert reader(Item("any/key-002", (0,))) == bytes([2]) * 9000


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, bytes(3 * PAGE)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.mdb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"place: must be a whole LMDB file of images by name \(.*\); download it"):
        list(read_keys(path, "place"))


def test_keys_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "binary.mdb", {b"\xff\x00": b"value"})
    with pytest.raises(ValueError, match=r"place: must be a whole LMDB file of images by name \(.*ascii.*\); download"):
        list(read_keys(path, "place"))
