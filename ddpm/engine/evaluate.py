"""Evaluation: the distance between samples and the reference, and the floor that real images reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.engine.reference import Tick, feature_moments
from ddpm.metrics.features import Extractor
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.record import frechet_record
from ddpm.metrics.statistics import Statistics, require_same_family


def evaluate(
    samples: NDArray[np.uint8],
    held_out: NDArray[np.uint8] | None,
    reference: Statistics,
    extractor: Extractor,
    batch: int,
    tick: Tick,
) -> dict[str, Any]:
    """The content of metrics.json: one record per distance, each with its protocol.

    Args:
        samples: uint8 NHWC, exactly the images that count.
        held_out: real images that the model never saw, of at most the same count; their distance to the reference is
            what a perfect model would score, and goes under `<metric>_floor`. None leaves it out.
        reference: statistics of the real images.
        extractor: of the same family as the reference.
        batch: images per network evaluation.
        tick: called with the number of images done.

    Raises:
        ValueError: another family, other image sizes, too few images.
    """
    require_same_family(reference, extractor)
    size = reference.identity["size"]
    if samples.shape[1:3] != (size, size):
        raise ValueError(
            f"samples must be {size}x{size} like the reference, got {samples.shape[1]}x{samples.shape[2]}; "
            "sample from a model of the same data"
        )
    metrics = {extractor.metric: distance(samples, reference, extractor, batch, tick)}
    if held_out is not None:
        metrics[f"{extractor.metric}_floor"] = distance(held_out, reference, extractor, batch, tick)
    return metrics


def distance(
    images: NDArray[np.uint8], reference: Statistics, extractor: Extractor, batch: int, tick: Tick
) -> dict[str, Any]:
    """The record of the Frechet distance between some images and the reference (Heusel et al. 2017)."""
    found = feature_moments(images, extractor, batch, tick)
    value = frechet_distance(found.mean, found.covariance(), reference.mean, reference.covariance)
    return dict(frechet_record(value, extractor, found.num_images, reference))
