"""Evaluation: the distance between samples and the reference, and the floor that real images reach."""

from collections.abc import Mapping
from typing import Any

from ddpm.engine.features import feature_moments, one_thread
from ddpm.metrics.features import Extractor
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.images import Features, StoredImages
from ddpm.metrics.record import frechet_record
from ddpm.metrics.statistics import Statistics, require_same_family


def image_sets(
    samples: StoredImages, held_out: StoredImages | None, reference: Statistics, extractor: Extractor
) -> dict[str, StoredImages]:
    """What is compared with the reference, under the names that the records will have in metrics.json.

    Args:
        samples: uint8 NHWC, exactly the images that count.
        held_out: real images that the model never saw, of at most the same count; their distance to the reference is
            what a perfect model would score, and goes under `<metric>_floor`. None leaves it out.
        reference: statistics of the real images.
        extractor: of the same family as the reference.

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
    sets = {extractor.metric: samples}
    if held_out is not None:
        sets[f"{extractor.metric}_floor"] = held_out
    for name, images in sets.items():
        if len(images) < 2:
            raise ValueError(f"evaluate: {name} needs at least 2 images, got {len(images)}; give more images")
    return sets


def evaluate(rows: Mapping[str, Features], reference: Statistics, extractor: Extractor) -> dict[str, Any]:
    """The content of metrics.json: one record per distance, each with its protocol.

    Args:
        rows: the features of `image_sets`, (images, dim) each.
        reference: statistics of the real images.
        extractor: what made the features.
    """
    return {name: distance(features, reference, extractor) for name, features in rows.items()}


def distance(rows: Features, reference: Statistics, extractor: Extractor) -> dict[str, Any]:
    """The record of the Frechet distance between images, given by their features, and the reference (Heusel 2017).

    Raises:
        ValueError: fewer than two images, or features of another family.
    """
    found = feature_moments(rows)
    with one_thread():
        value = frechet_distance(found.mean, found.covariance(), reference.mean, reference.covariance)
    return dict(frechet_record(value, extractor, found.num_images, reference))
