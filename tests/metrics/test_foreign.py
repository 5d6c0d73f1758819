"""Statistics files in the forms of other projects, and what is refused."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from ddpm.metrics.foreign import read_foreign_statistics
from ddpm.metrics.statistics import save_statistics

DIM = 12


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """As many rows as make two blocks and a rest."""
    return np.random.default_rng(0).gamma(1.0, size=(600, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def stored(features) -> dict[str, np.ndarray]:
    rows = features.astype(np.float64)
    return {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mu_and_sigma(dtype, save, stored, tmp_path):
    """pytorch-fid's files, and EDM's."""
    save(tmp_path / "a.npz", mu=stored["mu"].astype(dtype), sigma=stored["sigma"].astype(dtype))
    found = read_foreign_statistics(tmp_path / "a.npz")
    assert (found.kind, found.num_images, found.features) == ("mu/sigma", None, None)
    assert found.mean.dtype == found.covariance.dtype == np.float64
    np.testing.assert_array_equal(found.mean, stored["mu"].astype(dtype))
    np.testing.assert_array_equal(found.covariance, stored["sigma"].astype(dtype))
    assert found.sha256 == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()


def test_pytorch_fid_reads_the_same(stored, tmp_path):
    from pytorch_fid.fid_score import compute_statistics_of_path

    np.savez(tmp_path / "a.npz", **stored)
    mean, covariance = compute_statistics_of_path(str(tmp_path / "a.npz"), None, 1, DIM, "cpu")
    found = read_foreign_statistics(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.covariance, covariance)


@pytest.mark.parametrize("with_images", [False, True])
def test_adm(with_images, stored, tmp_path):
    images = {"arr_0": np.zeros((30, 4, 4, 3), dtype=np.uint8)} if with_images else {}
    np.savez(tmp_path / "a.npz", **stored, mu_s=np.zeros(3), sigma_s=np.full((3, 3), np.nan), **images)
    found = read_foreign_statistics(tmp_path / "a.npz")
    assert (found.kind, found.num_images) == ("adm", 30 if with_images else None)
    np.testing.assert_array_equal(found.covariance, stored["sigma"])  # not those of the spatial features


def test_images_are_counted_without_being_read(stored, tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", **stored, arr_0=np.zeros((30, 4, 4, 3), dtype=np.uint8))
    loaded: list[str] = []
    original = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        np.lib.npyio.NpzFile, "__getitem__", lambda self, key: loaded.append(key) or original(self, key)
    )
    found = read_foreign_statistics(tmp_path / "a.npz")
    assert (found.kind, found.num_images) == ("mu/sigma", 30)
    assert loaded == ["mu", "sigma"]


def test_score_sde(features, stored, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", pool_3=features, logits=np.zeros((600, 3)))
    found = read_foreign_statistics(tmp_path / "a.npz")
    assert (found.kind, found.num_images) == ("score-sde", 600)
    np.testing.assert_array_equal(found.features, features)
    np.testing.assert_allclose(found.mean, stored["mu"], rtol=1e-13)
    np.testing.assert_allclose(found.covariance, stored["sigma"], rtol=1e-12, atol=1e-14)


def with_change(stored: dict[str, np.ndarray], **changes: object) -> dict[str, object]:
    return {key: value for key, value in (stored | changes).items() if value is not None}


def asymmetric(dim: int) -> np.ndarray:
    return np.eye(dim) + np.triu(np.full((dim, dim), 1e-3), 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": None}, r"must hold mu and sigma, or pool_3, got sigma; give a file of"),
        ({"mu": None, "sigma": None, "m": 1, "s": 2}, "got m, s; give"),
        ({"mu": None, "sigma": None}, "got no arrays"),
        ({"mu": np.zeros(5)}, r"sigma must have shape \(5, 5\) like mu, got \(12, 12\)"),
        ({"mu": np.zeros((12, 1))}, r"mu must be floats with 1 axes, got float64 \(12, 1\)"),
        ({"mu": np.zeros(12, dtype=np.int64)}, r"mu must be floats .*, got int64"),
        ({"mu": np.zeros(0)}, r"mu must be floats .*, got float64 \(0,\)"),
        ({"mu": np.full(12, np.inf)}, "mu must be finite"),
        ({"sigma": np.full((12, 12), np.nan)}, "sigma must be finite"),
        ({"sigma": -np.eye(12)}, "sigma must have variances of 0 or more, got -1"),
        ({"sigma": asymmetric(12)}, r"sigma must be symmetric, got a difference of 0\.001"),
        ({"identity": "ours"}, "got a file of `ddpm reference`, which knows its family"),
        ({"mu": None, "sigma": None, "pool_3": np.zeros((1, 4))}, "pool_3: .* at least 2 images, got 1"),
        ({"mu": None, "sigma": None, "pool_3": np.zeros(4)}, r"pool_3 must be floats with 2 axes, got float64 \(4,\)"),
        ({"mu": None, "sigma": None, "pool_3": np.full((9, 4), np.nan)}, "pool_3 must be finite"),
        ({"mu": np.array([{}], dtype=object)}, r"must be a whole \.npz file, got Object arrays"),
    ],
)
def test_what_is_no_moments_is_refused(changes, message, stored, tmp_path):
    np.savez(tmp_path / "a.npz", **with_change(stored, **changes))
    with pytest.raises(ValueError, match=rf"a\.npz: .*{message}") as caught:
        read_foreign_statistics(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_our_own_file_is_sent_to_its_place(stored, tmp_path):
    identity = dict.fromkeys(("features", "family", "weights_sha256", "data_sha256", "crop", "size", "split"), "x")
    save_statistics(tmp_path / "a.npz", stored["mu"], stored["sigma"], 600, identity)
    with pytest.raises(ValueError, match="use it as the reference itself"):
        read_foreign_statistics(tmp_path / "a.npz")


def test_rounding_of_float32_counts_as_symmetric(stored, tmp_path):
    sigma = stored["sigma"] * (1 + 1e-7 * np.triu(np.ones((DIM, DIM))))
    np.savez(tmp_path / "a.npz", mu=stored["mu"], sigma=sigma)
    assert read_foreign_statistics(tmp_path / "a.npz").kind == "mu/sigma"


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


def test_pickles_are_refused_by_name_and_not_run(tmp_path):
    for name in ("edm.pkl", "EDM.PKL", "a.pickle", "net.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match="got a pickle, which can run code"):
            read_foreign_statistics(tmp_path / name)
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Trap()))  # a pickle under another name
    with pytest.raises(ValueError, match=r"must be a whole \.npz file"):
        read_foreign_statistics(tmp_path / "a.npz")


def test_damaged_files_are_refused(stored, tmp_path):
    whole = io.BytesIO()
    np.savez(whole, **stored)
    flipped = bytearray(whole.getvalue())
    flipped[200] ^= 1
    one_array = io.BytesIO()
    np.save(one_array, stored["mu"])
    for content in (b"", b"text", whole.getvalue()[:-100], bytes(flipped), one_array.getvalue()):
        path: Path = tmp_path / "a.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz: statistics must be a whole \.npz file, got .*; fetch") as caught:
            read_foreign_statistics(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="got no such file"):
        read_foreign_statistics(tmp_path / "absent.npz")
