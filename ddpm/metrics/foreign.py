"""Statistics files of other projects: what their features were like, in four forms of .npz.

None of them says which network, resize or crop it was made with (its family), so whoever uses one has to declare it.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ddpm.digest import file_sha256
from ddpm.metrics.moments import BLOCK_IMAGES, moments

PICKLES = (".pkl", ".pickle", ".pt", ".pth")
ASYMMETRY = 1e-5
"""Largest difference from the transpose, in shares of the largest variance; float32 files have 1e-7."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ForeignStatistics:
    """Moments of features that another project computed."""

    kind: str
    """`mu/sigma` (pytorch-fid, EDM), `adm` (the evaluator of Dhariwal and Nichol) or `score-sde` (Song et al.)."""
    mean: Floats
    """(dim,)"""
    covariance: Floats
    """(dim, dim)"""
    num_images: int | None
    """None where the file does not say."""
    features: NDArray[np.floating[Any]] | None
    """(images, dim), as stored; only `score-sde` files have them."""
    sha256: str
    """Of the file."""


def read_foreign_statistics(path: Path) -> ForeignStatistics:
    """Read a statistics file of pytorch-fid, EDM, the ADM evaluator or score_sde.

    The first three hold `mu` and `sigma`; ADM adds `mu_s` and `sigma_s` of spatial features, which are not used, and
    sometimes the images as `arr_0`, which are only counted. score_sde stores the activations `pool_3`, of which the
    moments are computed here, on one thread so that they have the same bits everywhere.

    Raises:
        ValueError: no such file, damaged, a pickle, a file of our own, unknown keys, or values that are no moments.
    """
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{path}: statistics must be an .npz, got a pickle, which can run code when it is opened; "
            "save its mu and sigma by np.savez where you trust it"
        )
    try:
        # opened here: numpy leaves the file open when it is cut short
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if not isinstance(arrays, NpzFile):
                raise ValueError("one array without a name")
            stored = _arrays(str(path), arrays)
    except FileNotFoundError:
        raise ValueError(f"{path}: foreign statistics must be there, got no such file; check the path") from None
    except _Refused as error:
        raise ValueError(str(error)) from None
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        raise ValueError(f"{path}: statistics must be a whole .npz file, got {reason}; fetch it again") from None
    return _statistics(str(path), stored, file_sha256(path))


class _Refused(ValueError):
    """A whole file that holds something else."""


@dataclass(frozen=True)
class _Stored:
    """What a file holds: moments, or features."""

    kind: str
    mean: NDArray[Any] | None
    covariance: NDArray[Any] | None
    num_images: int | None
    features: NDArray[Any] | None


def _arrays(place: str, arrays: NpzFile) -> _Stored:
    keys = set(arrays.files)
    if "identity" in keys:
        raise _Refused(
            f"{place}: foreign statistics must be of another program, got a file of `ddpm reference`, "
            "which knows its family; use it as the reference itself"
        )
    if {"mu", "sigma"} <= keys:
        kind = "adm" if {"mu_s", "sigma_s"} <= keys else "mu/sigma"
        num_images = _num_rows(arrays, "arr_0") if "arr_0" in keys else None
        return _Stored(kind, arrays["mu"], arrays["sigma"], num_images, None)
    if "pool_3" in keys:
        features = arrays["pool_3"]
        return _Stored("score-sde", None, None, len(features) if features.ndim else 0, features)
    raise _Refused(
        f"{place}: statistics must hold mu and sigma, or pool_3, got {', '.join(sorted(keys)) or 'no arrays'}; "
        "give a file of pytorch-fid, EDM, the ADM evaluator or score_sde"
    )


def _num_rows(arrays: NpzFile, key: str) -> int:
    """Length of an array, from its header: the images of a reference batch may have gigabytes."""
    assert arrays.zip is not None  # as long as the file is open
    with arrays.zip.open(f"{key}.npy") as member:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, _ = read[np.lib.format.read_magic(member)](member)
    return int(shape[0])


def _statistics(place: str, stored: _Stored, sha256: str) -> ForeignStatistics:
    if stored.features is not None:
        _require_floats(place, "pool_3", stored.features, num_axes=2)
        found = _moments(place, stored.features)
        return ForeignStatistics(stored.kind, found[0], found[1], stored.num_images, stored.features, sha256)
    assert stored.mean is not None
    assert stored.covariance is not None
    _require_floats(place, "mu", stored.mean, num_axes=1)
    _require_floats(place, "sigma", stored.covariance, num_axes=2)
    mean, covariance = stored.mean.astype(np.float64), stored.covariance.astype(np.float64)
    _require_moments(place, mean, covariance)
    return ForeignStatistics(stored.kind, mean, covariance, stored.num_images, None, sha256)


def _moments(place: str, features: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    def blocks() -> Iterator[NDArray[np.floating[Any]]]:
        for first in range(0, len(features), BLOCK_IMAGES):
            yield features[first : first + BLOCK_IMAGES]

    try:
        with threadpool_limits(limits=1, user_api="blas"):
            found = moments(blocks())
    except ValueError as error:
        raise ValueError(f"{place}: pool_3: {error}") from None
    return found.mean, found.covariance()


def _require_floats(place: str, key: str, values: NDArray[Any], num_axes: int) -> None:
    if values.dtype.kind != "f" or values.ndim != num_axes or values.size == 0:
        raise ValueError(
            f"{place}: {key} must be floats with {num_axes} axes, got {values.dtype} {values.shape}; fetch it again"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{place}: {key} must be finite, got NaN or infinite values; compute it again")


def _require_moments(place: str, mean: Floats, covariance: Floats) -> None:
    dim = len(mean)
    if covariance.shape != (dim, dim):
        raise ValueError(
            f"{place}: sigma must have shape {dim, dim} like mu, got {covariance.shape}; take both from one file"
        )
    if (lowest := float(covariance.diagonal().min())) < 0:
        raise ValueError(f"{place}: sigma must have variances of 0 or more, got {lowest:.3g}; compute it again")
    difference = float(np.abs(covariance - covariance.T).max())
    if difference > ASYMMETRY * float(covariance.diagonal().max()):
        raise ValueError(f"{place}: sigma must be symmetric, got a difference of {difference:.3g}; compute it again")
