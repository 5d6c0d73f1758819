"""Reference statistics: the features of real images, reduced to mean and covariance once per data set."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.metrics.features import Extractor
from ddpm.metrics.moments import Moments, moments
from ddpm.metrics.statistics import IDENTITY_KEYS, Statistics

Tick = Callable[[int], object]


def feature_moments(images: NDArray[np.uint8], extractor: Extractor, batch: int, tick: Tick) -> Moments:
    """Mean and scatter of the features of uint8 NHWC images, extracted `batch` at a time."""

    def features() -> Iterator[NDArray[np.float32]]:
        for first in range(0, len(images), batch):
            chunk = np.ascontiguousarray(images[first : first + batch])
            yield extractor.extract(chunk)
            tick(len(chunk))

    return moments(features())


def reference_statistics(
    images: NDArray[np.uint8],
    manifest: Mapping[str, Any],
    split: str,
    extractor: Extractor,
    batch: int,
    tick: Tick,
) -> Statistics:
    """Statistics of one prepared split, with the identity that later comparisons are checked against.

    Raises:
        ValueError: fewer than two images.
    """
    if len(images) < 2:
        raise ValueError(
            f"reference.split {split} must hold at least 2 images, got {len(images)}; choose another split"
        )
    found = feature_moments(images, extractor, batch, tick)
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
