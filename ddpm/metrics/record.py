"""A Fréchet distance as metrics.json holds it: never a bare number, because only equal protocols compare."""

from math import isfinite

from ddpm.metrics.features import Extractor
from ddpm.metrics.statistics import Statistics, require_same_family

SMOKE_BELOW = 2_048  # fewer images than Inception features: the covariance has no full rank
LOW_COUNT_BELOW = 10_000  # the bias of the estimate, which falls as 1/N, is still of the size of what is compared


def frechet_record(value: float, extractor: Extractor, num_images: int, reference: Statistics) -> dict[str, object]:
    """The record of one Fréchet distance, to stand under `extractor.metric`; JSON values only.

    Args:
        value: the distance.
        extractor: what made the features of the samples.
        num_images: samples.
        reference: the statistics compared with; crop, size and split are theirs.

    Raises:
        ValueError: under 2 images, a value that is no distance, or a reference of another family.
    """
    require_same_family(reference, extractor)
    if min(num_images, reference.num_images) < 2:
        raise ValueError(f"{extractor.metric} needs at least 2 images a side, got {num_images}, {reference.num_images}")
    if not isfinite(value) or value < 0.0:
        raise ValueError(f"{extractor.metric} must be finite and 0 or more, got {value}")
    return {
        "name": display_name(extractor.metric, num_images),
        "value": value,
        "num_images": num_images,
        "num_reference": reference.num_images,
        "features": extractor.name,
        "family": extractor.family,
        "weights_sha256": extractor.weights_sha256,
        "grade": grade(min(num_images, reference.num_images)),
        "protocol": {
            "crop": reference.identity["crop"],
            "size": reference.identity["size"],
            "split": reference.identity["split"],
            "sample_format": "uint8 npy",
        },
    }


def display_name(metric: str, num_images: int) -> str:
    """The name for tables and figures, such as `frechet_pixels@500`: the sample count is part of it."""
    return f"{metric}@{num_images}"


def grade(num_images: int) -> str:
    """What a distance of so many images (the smaller side) is good for: `smoke only`, `low count` or `ok`."""
    if num_images < SMOKE_BELOW:
        return "smoke only"
    return "low count" if num_images < LOW_COUNT_BELOW else "ok"
