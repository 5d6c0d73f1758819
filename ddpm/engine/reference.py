"""Reference statistics: the features of real images, reduced to mean and covariance once per data set."""

from collections.abc import Mapping
from typing import Any

from ddpm.engine.features import feature_moments
from ddpm.metrics.features import Extractor
from ddpm.metrics.images import Features, StoredImages
from ddpm.metrics.statistics import IDENTITY_KEYS, Statistics


def require_enough(images: StoredImages, split: str) -> None:
    """Refuse a split that has no covariance.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(
            f"reference.split {split} must hold at least 2 images, got {len(images)}; choose another split"
        )


def reference_statistics(rows: Features, manifest: Mapping[str, Any], split: str, extractor: Extractor) -> Statistics:
    """Statistics of one prepared split, with the identity that later comparisons are checked against.

    Args:
        rows: the features of its images, (images, dim), at least two.
        manifest: of the prepared images.
        split: its name in the manifest.
        extractor: what made the features.
    """
    found = feature_moments(rows)
    entry = manifest["splits"][split]
    identity = {
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
    assert set(IDENTITY_KEYS) <= set(identity)
    return Statistics(found.mean, found.covariance(), found.num_images, identity)
