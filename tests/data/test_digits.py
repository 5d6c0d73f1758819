"""Digits: the same 1,797 images and the same split everywhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddpm.data.catalog import Catalog
from ddpm.data.digits import open_digits
from ddpm.data.store import open_split
from ddpm.engine.prepare import prepare
from ddpm.experiment.params import DataParams


@pytest.fixture(scope="module")
def digits() -> Catalog:
    return open_digits(Path("nowhere"), "digit", Path("nowhere"))


def test_splits_are_disjoint_and_complete(digits: Catalog) -> None:
    train, test = digits.splits["train"], digits.splits["test"]
    assert not np.intersect1d(train, test).size
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), digits.splits["all"])
    assert (len(train), len(test)) == (1500, 297)


def test_the_split_is_stable(digits: Catalog) -> None:
    # Golden, beside the property above: numbers of different versions must stay comparable.
    assert digits.splits["test"][:8].tolist() == [14, 19, 32, 34, 42, 45, 51, 63]
    assert np.bincount(digits.labels[digits.splits["test"]]).min() >= 20  # every class is held out


def test_pixels_use_the_whole_range(digits: Catalog) -> None:
    frames = np.stack([digits.read(item) for item in digits.items.take(digits.splits["all"])])
    assert frames.shape == (1797, 8, 8)
    assert (frames.min(), frames.max(), len(np.unique(frames))) == (0, 255, 17)


def test_labels(digits: Catalog) -> None:
    assert digits.labels[:10].tolist() == list(range(10))
    assert digits.classes == tuple("0123456789")
    unlabeled = open_digits(Path("nowhere"), "none", Path("nowhere"))
    assert unlabeled.classes == ()
    assert not unlabeled.labels.any()
    with pytest.raises(ValueError, match=r"^params.yaml: data.labels must be digit or none for digits, got Smiling$"):
        open_digits(Path("nowhere"), "Smiling", Path("nowhere"))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_prepare(size: int, tmp_path: Path, data_params: Callable[..., DataParams]) -> None:
    data = data_params(source="digits", crop="none", image_size=size, channels=1, valid_split="test", labels="digit")
    manifest = prepare(data, tmp_path / "raw", tmp_path, tmp_path / "work", workers=2)
    assert open_split(tmp_path, "train").images.shape == (1500, size, size, 1)
    assert open_split(tmp_path, "valid").images.shape == (297, size, size, 1)
    assert manifest["splits"]["valid"]["images_of_class"]["3"] == 28
    assert manifest["classes"] == list("0123456789")
    assert not (tmp_path / "raw").exists()
