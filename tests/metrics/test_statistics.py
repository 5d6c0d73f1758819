"""The reference statistics file: same values, same bytes; and nothing unlike is compared."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm.metrics.features import build_extractor
from ddpm.metrics.moments import moments
from ddpm.metrics.statistics import IDENTITY_KEYS, Statistics, load_statistics, require_same_family, save_statistics

IDENTITY = {
    "features": "pixels",
    "family": "pixels",
    "weights_sha256": None,
    "data_sha256": "ab" * 32,
    "crop": "none",
    "size": 16,
    "split": "train",
}


@pytest.fixture
def reference() -> Statistics:
    found = moments([np.random.default_rng(0).normal(size=(50, 8))])
    return Statistics(found.mean, found.covariance(), 50, IDENTITY)


def save(file: object, reference: Statistics, **changes: object) -> None:
    values = {
        "mean": reference.mean,
        "covariance": reference.covariance,
        "num_images": reference.num_images,
        "identity": reference.identity,
    }
    save_statistics(file, **values | changes)


def test_round_trip_under_a_temporary_name(reference, tmp_path):
    path = tmp_path / "statistics.npz.tmp"
    save(path, reference)
    assert [found.name for found in tmp_path.iterdir()] == ["statistics.npz.tmp"]
    loaded = load_statistics(path)
    np.testing.assert_array_equal(loaded.mean, reference.mean)
    np.testing.assert_array_equal(loaded.covariance, reference.covariance)
    assert loaded.num_images == 50
    assert loaded.identity == IDENTITY


def test_same_values_same_bytes(reference, tmp_path):
    first, second = io.BytesIO(), io.BytesIO()
    save(first, reference)
    save(second, reference, identity=dict(reversed(IDENTITY.items())))
    save(tmp_path / "a.npz", reference)
    assert first.getvalue() == second.getvalue() == (tmp_path / "a.npz").read_bytes()


def test_pytorch_fid_can_read_it(reference, tmp_path):
    save(tmp_path / "a.npz", reference)
    with np.load(tmp_path / "a.npz") as arrays:
        assert (arrays["mu"].shape, arrays["sigma"].shape) == ((8,), (8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": np.zeros(7)}, r"shapes \(dim,\) and \(dim, dim\), got \(7,\) and \(8, 8\)"),
        ({"mean": np.zeros((8, 1))}, r"must have shapes"),
        ({"covariance": np.full((8, 8), np.nan)}, "must be finite"),
        ({"num_images": 1}, "num_images must be at least 2, got 1"),
        (
            {"identity": {"features": "pixels"}},
            "got none of family, weights_sha256",
        ),
    ],
)
def test_refused_when_saved(reference, tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"statistics: .*{message}"):
        save(tmp_path / "a.npz", reference, **changes)
    assert not (tmp_path / "a.npz").exists()


def without_identity(path: Path, reference: Statistics) -> None:
    np.savez(path, mu=reference.mean, sigma=reference.covariance)


def cut_short(path: Path, reference: Statistics) -> None:
    save(path, reference)
    path.write_bytes(path.read_bytes()[:-100])


def pickled(path: Path, reference: Statistics) -> None:
    np.savez(
        path, mu=reference.mean, sigma=reference.covariance, num_images=50, identity=np.array(IDENTITY, dtype=object)
    )


def absent(path: Path, reference: Statistics) -> None: ...


def empty(path: Path, reference: Statistics) -> None:
    path.touch()


def text(path: Path, reference: Statistics) -> None:
    path.write_text("mu,sigma\n")


def one_array(path: Path, reference: Statistics) -> None:
    with path.open("wb") as file:
        np.save(file, reference.mean)


@pytest.mark.parametrize("write", [without_identity, cut_short, pickled, absent, empty, text, one_array])
def test_refused_when_loaded(reference, tmp_path, write):
    path = tmp_path / "a.npz"
    write(path, reference)
    with pytest.raises(ValueError, match=r"a\.npz: reference statistics must hold mu, .*: make them with") as caught:
        load_statistics(path)
    assert "\n" not in str(caught.value)


def test_the_same_family_passes(reference):
    require_same_family(reference, build_extractor("pixels", weights=None, download=False, device=torch.device("cpu")))


@pytest.mark.parametrize("key", ["features", "family", "weights_sha256"])
def test_other_families_are_refused(reference, key):
    other = Statistics(reference.mean, reference.covariance, 50, {**IDENTITY, key: "other"})
    extractor = build_extractor("pixels", weights=None, download=False, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=f"^reference statistics: {key} must agree, got other in .*ddpm reference"):
        require_same_family(other, extractor)


def test_identity_holds_what_a_reader_needs():
    assert set(IDENTITY_KEYS) == set(IDENTITY)
