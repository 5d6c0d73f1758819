"""Selections: slices of official lists, what overlaps, and what is out of range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm.data.catalog import Items
from ddpm.data.splits import at_most, choose, place_of, select

SPLITS = {"train": np.array([1, 3, 5, 7, 9]), "test": np.array([0, 2]), "all": np.arange(10), "empty": np.arange(0)}
ITEMS = Items(f"{number:06d}.jpg" for number in range(10))


@given(bounds=st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True).map(sorted))
def test_a_slice_is_pythons(bounds: list[int]) -> None:
    start, stop = bounds
    np.testing.assert_array_equal(select(SPLITS, ITEMS, f"train[{start}:{stop}]", "key"), SPLITS["train"][start:stop])


@pytest.mark.parametrize(
    ("selection", "items"),
    [("train", [1, 3, 5, 7, 9]), ("train[:2]", [1, 3]), ("train[3:]", [7, 9]), ("test[:]", [0, 2])],
)
def test_bounds_may_be_left_out(selection: str, items: list[int]) -> None:
    assert select(SPLITS, ITEMS, selection, "key").tolist() == items


@pytest.mark.parametrize(
    ("selection", "most"),
    [("none", 0), ("train[:2]", 2), ("train[3:5]", 2), ("train", None), ("train[3:]", None), ("train[0%:50%]", None)],
)
def test_what_a_selection_says_of_its_number(selection: str, most: int | None) -> None:
    assert at_most(selection) == most
    assert most is None or selection == "none" or len(select(SPLITS, ITEMS, selection, "key")) == most


@pytest.mark.parametrize("selection", ["train[0:6]", "train[5:]", "train[3:3]", "train[4:2]", "empty", "empty[:]"])
def test_slices_out_of_range_are_refused(selection: str) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: key must select 0 <= start < stop <= \d \(the images of"):
        select(SPLITS, ITEMS, selection, "key")


@pytest.mark.parametrize(
    "selection",
    [
        "train[-2:]",
        "train[0:4:2]",
        "train[3]",
        "train[a:b]",
        "train ",
        "train[0:2",
        "",
        "train[5%]",
        "train[0:50%]",
        "train[0%:50]",
        "train[-5%:]",
        "train[:2][0%:5%]",
    ],
)
def test_malformed_selections_are_refused(selection: str) -> None:
    with pytest.raises(
        ValueError, match=r"^params.yaml: key must read like train, train\[0:9000\] or train\[0%:95%\], got"
    ):
        select(SPLITS, ITEMS, selection, "key")


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a split of the source \(train, test, all, empty\), got valid$"):
        choose(SPLITS, ITEMS, "train", "valid")
    with pytest.raises(ValueError, match=r"data.train_split must be a split .*got none$"):
        choose(SPLITS, ITEMS, "none", "none")


def test_choose() -> None:
    chosen = choose(SPLITS, ITEMS, "train[0:3]", "train[3:5]")
    assert chosen["train"].tolist() == [1, 3, 5]
    assert chosen["valid"].tolist() == [7, 9]
    assert choose(SPLITS, ITEMS, "train", "none")["valid"].shape == (0,)


@pytest.mark.parametrize(("train", "valid", "shared"), [("all", "test", 2), ("train[0:3]", "train[2:5]", 1)])
def test_a_held_out_image_must_not_be_trained_on(train: str, valid: str, shared: int) -> None:
    with pytest.raises(ValueError, match=rf"must hold no training image, but .* shares {shared} images"):
        choose(SPLITS, ITEMS, train, valid)


MANY = Items(f"{number}.png" for number in range(5000))
ALL = {"all": np.arange(5000)}


def test_shares_are_disjoint_complete_and_about_as_large_as_they_say() -> None:
    chosen = choose(ALL, MANY, "all[0%:95%]", "all[95%:]")
    np.testing.assert_array_equal(np.sort(np.concatenate([*chosen.values()])), ALL["all"])
    assert 250 - 80 < len(chosen["valid"]) < 250 + 80  # five standard deviations of a binomial
    assert select(ALL, MANY, "all[:12.5%]", "key").tolist() == select(ALL, MANY, "all[0%:12.5%]", "key").tolist()
    np.testing.assert_array_equal(select(ALL, MANY, "all[:100%]", "key"), ALL["all"])


def test_a_share_depends_on_the_name_alone() -> None:
    backwards = Items(f"{number}.png" for number in reversed(range(2500, 5000)))
    whole = {MANY.name(number) for number in select(ALL, MANY, "all[0%:40%]", "key").tolist()}
    part = {backwards.name(n) for n in select({"all": np.arange(2500)}, backwards, "all[0%:40%]", "key").tolist()}
    assert part == {name for name in whole if int(name[:-4]) >= 2500}


def test_places_are_stable() -> None:
    # Golden, beside the properties above: a set must not be split anew by a new version.
    assert [round(place_of(name), 6) for name in ("0.png", "1.png", "a/b.jpg")] == [5.91705, 57.961935, 29.030439]


@pytest.mark.parametrize("selection", ["all[50%:50%]", "all[60%:50%]", "all[0%:100.1%]"])
def test_shares_out_of_range_are_refused(selection: str) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: key all.* must select 0% <= low < high <= 100%$"):
        select(ALL, MANY, selection, "key")


def test_an_empty_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: key all.* must select an image, got none of 5000; widen it$"):
        select(ALL, MANY, "all[0%:0.0000001%]", "key")
