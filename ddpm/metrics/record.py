"""A metric as metrics.json holds it: never a bare number, because only equal protocols compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ddpm.metrics.features import Extractor
from ddpm.metrics.statistics import Statistics, require_same_family

SMOKE_BELOW = 2_048  # fewer images than Inception features: the covariance has no full rank
LOW_COUNT_BELOW = 10_000  # the bias of the estimate, which falls as 1/N, is still of the size of what is compared


@dataclass(frozen=True)
class Protocol:
    """How samples were measured, for every record; what the reference is, its own identity says.

    Attributes:
        name: as in `params.yaml: evaluate.protocol`.
        sample_format: how the samples were stored: lossy formats change the number.
        samples_sha256: of the samples as a set, independent of their order and storage.
        reference_sha256: of the file of statistics.
    """

    name: str
    sample_format: str
    samples_sha256: str
    reference_sha256: str


def metric_record(
    name: str,
    measured: Mapping[str, Any],
    extractor: Extractor,
    reference: Statistics,
    protocol: Protocol,
) -> dict[str, Any]:
    """The record of one number; JSON values only.

    Args:
        name: `metric_name` of what was measured.
        measured: `value`, `num_images`, `num_reference`, and what else belongs to the number.
        extractor: what made the features of the samples.
        reference: the statistics compared with; crop, side and split are theirs.
        protocol: of the samples.

    Raises:
        ValueError: under 2 images, a value that is not finite, or a reference of another family.
    """
    require_same_family(reference, extractor)
    num_images, num_reference = measured["num_images"], measured["num_reference"]
    if min(num_images, num_reference) < 2:
        raise ValueError(f"{name} needs at least 2 images a side, got {num_images}, {num_reference}; give more images")
    if not isfinite(measured["value"]):
        raise ValueError(f"{name} must be finite, got {measured['value']}; look at the images")
    return {
        **measured,
        "name": display_name(name, num_images),
        "features": extractor.name,
        "family": extractor.family,
        "weights_sha256": extractor.weights_sha256,
        "reference_sha256": protocol.reference_sha256,
        "samples_sha256": protocol.samples_sha256,
        "grade": grade(min(num_images, num_reference)),
        "protocol": {
            "name": protocol.name,
            **{key: reference.identity.get(key) for key in ("source", "crop", "resample", "size", "split")},
            "sample_format": protocol.sample_format,
        },
    }


def metric_name(metric: str, extractor: Extractor) -> str:
    """How a metric is called in the features of an extractor: `frechet` is `fid` or `frechet_pixels`, `kid` `kid_768`.

    Args:
        metric: `frechet`, `frechet_floor`, or the name of another metric.
    """
    if metric.startswith("frechet"):
        return extractor.metric + metric.removeprefix("frechet")
    return metric + extractor.kind.suffix


def display_name(metric: str, num_images: int) -> str:
    """The name for tables and figures, such as `frechet_pixels@500`: the sample count is part of it."""
    return f"{metric}@{num_images}"


def grade(num_images: int) -> str:
    """What a distance of so many images (the smaller side) is good for: `smoke only`, `low count` or `ok`."""
    if num_images < SMOKE_BELOW:
        return "smoke only"
    return "low count" if num_images < LOW_COUNT_BELOW else "ok"


def summary(records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each number: its name with the count, the interval, and what it is good for."""
    lines = []
    for record in records.values():
        beside = ""
        if interval := record.get("interval"):
            beside = f"  95 % [{interval['low']:.4g}, {interval['high']:.4g}]"
        if "samples_at_this_count" in record:
            beside += f"  of real images; as many samples: {record['samples_at_this_count']:.4f}"
        value = record["value"]
        shown = f"{value:.4f}" if abs(value) >= 0.1 else f"{value:.4g}"  # a kernel distance may be a ten-thousandth
        lines.append(f"{record['name']}: {shown}{beside}  ({record['grade']})")
    return lines


def warning(records: Mapping[str, Mapping[str, Any]]) -> str | None:
    """One line about numbers of too few images, None where there are enough."""
    first = next(iter(records.values()))
    if first["grade"] == "ok":
        return None
    if first["grade"] == "smoke only":
        reason = f"below {SMOKE_BELOW:,} images it says whether the pipeline runs, and little more"
    else:
        reason = f"below {LOW_COUNT_BELOW:,} images its bias is of the size of what is compared"
    return f"{first['name']}: {first['grade']}: {reason}; compare it only with the same count"
