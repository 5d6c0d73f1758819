"""Reference statistics: the features of real images, reduced to mean and covariance once per data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.crops import kernel_of
from ddpm.data.store import LazyImages
from ddpm.digest import file_sha256
from ddpm.engine.features import feature_moments
from ddpm.experiment.params import Params
from ddpm.experiment.workspace import atomic_path
from ddpm.metrics.features import EXTRACTORS, Extractor
from ddpm.metrics.foreign import ForeignStatistics
from ddpm.metrics.images import Features
from ddpm.metrics.statistics import IDENTITY_KEYS, Statistics, features_file, save_statistics
from ddpm.metrics.weights import CANONICAL_SHA256


def require_enough(images: LazyImages, split: str) -> None:
    """Refuse a split that has no covariance.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(
            f"reference.split {split} must hold at least 2 images, got {len(images)}; choose another split"
        )


def identity_of(manifest: Mapping[str, Any], split: str, extractor: Extractor) -> dict[str, Any]:
    """What later comparisons are checked against: which images, prepared how, in which features.

    Args:
        manifest: of the prepared images.
        split: its name in the manifest.
        extractor: what makes the features.
    """
    entry = manifest["splits"][split]
    return {
        "features": extractor.name,
        "family": extractor.family,
        "weights_sha256": extractor.weights_sha256,
        "data_sha256": entry["sha256"],
        "source": manifest["source"],
        "crop": manifest["crop"],
        "resample": manifest["resample"],
        "size": manifest["size"],
        "split": entry["selection"],
    }


def write_reference(out: Path, rows: Features, dim: int, identity: Mapping[str, Any]) -> Statistics:
    """Write the features of real images beside the statistics of them, and these last: they vouch for both.

    Args:
        out: the npz of the statistics.
        rows: (images, dim or more), at least two; what lies behind the first dim columns is left out.
        identity: of `identity_of`.
    """
    found = feature_moments(rows[:, :dim])
    with atomic_path(features_file(out)) as temporary, temporary.open("wb") as file:
        np.save(file, rows[:, :dim], allow_pickle=False)
    known = {**identity, "features_sha256": file_sha256(features_file(out))}
    return _write(out, Statistics(found.mean, found.covariance(), found.num_images, known))


def write_foreign(out: Path, foreign: ForeignStatistics, family: str, params: Params, count: int | None) -> Statistics:
    """Write statistics that another program made in our form, with the identity that the user declares for them.

    Args:
        out: the npz of the statistics.
        foreign: what the file holds.
        family: as the user declares it; must be that of `reference.features`, because the file cannot tell.
        params: data and reference say what the images are.
        count: how many images they are of, where the file does not say.

    Raises:
        ValueError: another family or dimension, or no count.
    """
    name, kind = params.reference.features, EXTRACTORS[params.reference.features]
    if family != kind.family or not kind.weights:
        families = {kind.family for kind in EXTRACTORS.values() if kind.weights}
        wanted = kind.family if kind.weights else " or ".join(sorted(families))
        raise ValueError(
            f"--family must be {wanted} for reference.features {name}, got {family}; "
            "-S reference.features=inception is tf1, pytorch-fid is pytorch"
        )
    if len(foreign.mean) != kind.dim:
        raise ValueError(f"reference.features {name} has {kind.dim} dimensions, got statistics of {len(foreign.mean)}")
    num_images = foreign.num_images or count
    if num_images is None or (count is not None and count != num_images):
        rule = "must say how many images the statistics are of (the file does not)"
        raise ValueError(f"--count {rule}, got {count}" if num_images is None else _other_count(count, num_images))
    identity = {
        "features": name,
        "family": family,
        "weights_sha256": CANONICAL_SHA256,
        "data_sha256": foreign.sha256,
        "source": f"foreign {foreign.kind}",
        "crop": params.data.crop,
        "resample": kernel_of(params.data.crop, params.data.resample).name.lower(),
        "size": params.data.size,
        "split": params.data.train_split if params.reference.split == "train" else params.data.valid_split,
    }
    if foreign.features is not None:
        return write_reference(out, foreign.features, len(foreign.mean), identity)
    with atomic_path(features_file(out)) as temporary, temporary.open("wb") as file:
        np.save(file, np.zeros((0, len(foreign.mean)), np.float32), allow_pickle=False)
    known = {**identity, "features_sha256": file_sha256(features_file(out))}
    return _write(out, Statistics(foreign.mean, foreign.covariance, num_images, known))


def load_real(path: Path, reference: Statistics) -> NDArray[np.float32] | None:
    """The features that statistics are of, as a read-only memory map; None where the statistics are foreign ones.

    Args:
        path: of the statistics.
        reference: what stands there.

    Raises:
        ValueError: they are missing, or not those the statistics were computed from.
    """
    file = features_file(path)
    expected = reference.identity.get("features_sha256")
    if expected is None:
        return None
    if not file.is_file() or file_sha256(file) != expected:
        state = "another file" if file.is_file() else "none"
        raise ValueError(
            f"{file}: must be the features that {path.name} is of, got {state}; run `ddpm reference` again"
        )
    rows: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    return rows if len(rows) else None


def _write(out: Path, found: Statistics) -> Statistics:
    assert set(IDENTITY_KEYS) <= set(found.identity)
    with atomic_path(out) as temporary:
        save_statistics(temporary, found.mean, found.covariance, found.num_images, found.identity)
    return found


def _other_count(count: int | None, num_images: int) -> str:
    return f"--count must be that of the file, {num_images}, got {count}; leave it out"
