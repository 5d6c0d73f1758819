"""The file of reference statistics: mean and covariance of real features, and what they are of.

The keys `mu` and `sigma` are those of pytorch-fid's files, so such tools can read ours; theirs do not say which
pixels they saw, so `ddpm reference --foreign` asks for it.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ddpm.metrics.features import Extractor

FAMILY_KEYS = ("features", "family", "weights_sha256")
IDENTITY_KEYS = (*FAMILY_KEYS, "data_sha256", "crop", "size", "split")


@dataclass(frozen=True)
class Statistics:
    """Moments of reference features.

    Args:
        mean: (dim,) float64.
        covariance: (dim, dim) float64.
        num_images: images they were computed from.
        identity: at least the keys of IDENTITY_KEYS; JSON values. `features_sha256`, where it is given, is that of the
            file of the features themselves (`features_file`).
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    num_images: int
    identity: Mapping[str, Any]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the images; `size` in the identity is one number where they are equal."""
        size = self.identity["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return height, width


def save_statistics(
    file: Path | IO[bytes],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    num_images: int,
    identity: Mapping[str, Any],
) -> None:
    """Write a statistics npz; the same values give the same bytes.

    Args:
        file: a path (used as it is, nothing is appended) or a binary file.
        mean: (dim,).
        covariance: (dim, dim).
        identity: what the statistics are of, with at least the keys of IDENTITY_KEYS; JSON values.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, under 2 images, or an incomplete identity.
    """
    _check("statistics", Statistics(mean, covariance, num_images, identity))
    if isinstance(file, Path):  # opened here: numpy appends `.npz` to a path without it, such as a temporary name
        with file.open("wb") as opened:
            save_statistics(opened, mean, covariance, num_images, identity)
        return
    np.savez(
        file,
        allow_pickle=False,
        mu=np.asarray(mean, dtype=np.float64),
        sigma=np.asarray(covariance, dtype=np.float64),
        num_images=np.int64(num_images),
        identity=np.array(json.dumps(dict(identity), sort_keys=True)),
    )


def features_file(path: Path) -> Path:
    """Where the features lie that the statistics at `path` are of: beside them, (images, dim) float32."""
    return path.with_name(f"{path.stem}_features.npy")


def load_statistics(path: Path) -> Statistics:
    """Read a statistics npz.

    Raises:
        ValueError: no such file, cut short, another format, or contents that `save_statistics` would refuse.
    """
    try:
        # opened here: numpy leaves the file open when it is cut short
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            identity = json.loads(str(arrays["identity"].item()))
            found = Statistics(arrays["mu"], arrays["sigma"], int(arrays["num_images"]), identity)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        rule = "reference statistics must hold mu, sigma, num_images and identity"
        raise ValueError(f"{path}: {rule}, got {reason}: make them with `ddpm reference`") from error
    _check(str(path), found)
    return found


def _check(place: str, statistics: Statistics) -> None:
    dim = statistics.mean.shape[0] if statistics.mean.ndim == 1 else 0
    if dim == 0 or statistics.covariance.shape != (dim, dim):
        got = f"{statistics.mean.shape} and {statistics.covariance.shape}"
        raise ValueError(f"{place}: mu and sigma must have shapes (dim,) and (dim, dim), got {got}")
    if not (np.isfinite(statistics.mean).all() and np.isfinite(statistics.covariance).all()):
        raise ValueError(f"{place}: mu and sigma must be finite, got NaN or infinite values")
    if statistics.num_images < 2:
        raise ValueError(f"{place}: num_images must be at least 2, got {statistics.num_images}")
    if missing := [key for key in IDENTITY_KEYS if key not in statistics.identity]:
        raise ValueError(f"{place}: identity must have {', '.join(IDENTITY_KEYS)}, got none of {', '.join(missing)}")


def require_same_family(reference: Statistics, extractor: Extractor) -> None:
    """Refuse to compare features that were not made alike: other features, other resize, other weights.

    Raises:
        ValueError: the first of features, family and weights that differs.
    """
    ours = {"features": extractor.name, "family": extractor.family, "weights_sha256": extractor.weights_sha256}
    for key in FAMILY_KEYS:
        if reference.identity[key] != ours[key]:
            got = f"{reference.identity[key]} in the statistics and {ours[key]} here"
            raise ValueError(f"reference statistics: {key} must agree, got {got}: run `ddpm reference` again")
