"""Selections: slices of official lists, what overlaps, and what is out of range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm.data.splits import choose, select

SPLITS = {"train": np.array([1, 3, 5, 7, 9]), "test": np.array([0, 2]), "all": np.arange(10), "empty": np.arange(0)}


@given(bounds=st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True).map(sorted))
def test_a_slice_is_pythons(bounds: list[int]) -> None:
    start, stop = bounds
    np.testing.assert_array_equal(select(SPLITS, f"train[{start}:{stop}]", "key"), SPLITS["train"][start:stop])


@pytest.mark.parametrize(
    ("selection", "items"),
    [("train", [1, 3, 5, 7, 9]), ("train[:2]", [1, 3]), ("train[3:]", [7, 9]), ("test[:]", [0, 2])],
)
def test_bounds_may_be_left_out(selection: str, items: list[int]) -> None:
    assert select(SPLITS, selection, "key").tolist() == items


@pytest.mark.parametrize("selection", ["train[0:6]", "train[5:]", "train[3:3]", "train[4:2]", "empty", "empty[:]"])
def test_slices_out_of_range_are_refused(selection: str) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: key must select 0 <= start < stop <= \d \(the images of"):
        select(SPLITS, selection, "key")


@pytest.mark.parametrize(
    "selection", ["train[-2:]", "train[0:4:2]", "train[3]", "train[a:b]", "train ", "train[0:2", ""]
)
def test_malformed_selections_are_refused(selection: str) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: key must read like train or train\[0:9000\], got"):
        select(SPLITS, selection, "key")


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be a split of the source \(train, test, all, empty\), got valid$"):
        choose(SPLITS, "train", "valid")
    with pytest.raises(ValueError, match=r"data.train_split must be a split .*got none$"):
        choose(SPLITS, "none", "none")


def test_choose() -> None:
    chosen = choose(SPLITS, "train[0:3]", "train[3:5]")
    assert chosen["train"].tolist() == [1, 3, 5]
    assert chosen["valid"].tolist() == [7, 9]
    assert choose(SPLITS, "train", "none")["valid"].shape == (0,)


@pytest.mark.parametrize(("train", "valid", "shared"), [("all", "test", 2), ("train[0:3]", "train[2:5]", 1)])
def test_a_held_out_image_must_not_be_trained_on(train: str, valid: str, shared: int) -> None:
    with pytest.raises(ValueError, match=rf"must hold no training image, but .* shares {shared} images"):
        choose(SPLITS, train, valid)
