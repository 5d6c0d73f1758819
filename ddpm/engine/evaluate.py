"""Evaluation: which images are compared, whether they may be, and the records of all metrics."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ddpm.engine.features import feature_moments, one_thread
from ddpm.engine.measure import METRICS, NEED_REAL, Compared
from ddpm.experiment.params import EvaluateParams
from ddpm.experiment.protocols import PROTOCOLS
from ddpm.metrics.features import Extractor
from ddpm.metrics.frechet import frechet_distance, gaussian
from ddpm.metrics.images import Features
from ddpm.metrics.record import Protocol, metric_name, metric_record
from ddpm.metrics.statistics import Statistics, require_same_family

Shape: TypeAlias = tuple[int, ...]


def require_comparable(shape: Shape, num_held_out: int | None, reference: Statistics, extractor: Extractor) -> None:
    """Refuse images that cannot be compared with the reference, before they are read.

    Args:
        shape: of the samples that count, (images, height, width, channels).
        num_held_out: real images that the model never saw; None where no metric needs them.
        reference: statistics of the real images.
        extractor: of the same family as the reference.

    Raises:
        ValueError: another family, other image sizes, too few images.
    """
    require_same_family(reference, extractor)
    height, width = reference.sides
    if shape[1:3] != (height, width):
        raise ValueError(
            f"samples must be {height}x{width} like the reference, got {shape[1]}x{shape[2]}; "
            "sample from a model of the same data"
        )
    for name, count in (("samples", shape[0]), ("held-out images", num_held_out)):
        if count is not None and count < 2:
            raise ValueError(f"evaluate: {extractor.metric} needs at least 2 {name}, got {count}; give more")


def require_protocol(name: str, reference: Statistics, manifest: Mapping[str, Any] | None) -> None:
    """Refuse a reference, or held-out images, that are not what the other side is, or not what the protocol says.

    Args:
        name: `evaluate.protocol`.
        reference: statistics of the real images.
        manifest: of the prepared images that the held-out ones are of; None where none are looked at.

    Raises:
        ValueError: the first thing that differs.
    """
    identity = reference.identity
    if protocol := PROTOCOLS.get(name):
        for key, allowed in (("crop", (protocol.crop,)), ("split", (protocol.split,)), ("features", protocol.features)):
            if identity[key] not in allowed:
                raise ValueError(
                    f"evaluate.protocol {name}: {key} of the reference must be {' or '.join(allowed)}, "
                    f"got {identity[key]}; make that reference, or choose own"
                )
    for key in ("crop", "resample", "size"):
        if manifest is not None and key in identity and manifest[key] != identity[key]:
            raise ValueError(
                f"held-out images: {key} must be {identity[key]} as in the reference, got {manifest[key]}; "
                "name the --data that the reference was made of"
            )


def require_metrics(evaluate: EvaluateParams, real: Features | None) -> None:
    """Refuse metrics that this reference cannot serve.

    Args:
        evaluate: section `evaluate`.
        real: features of the reference, if they are known.

    Raises:
        ValueError: the first such metric.
    """
    for name in evaluate.metrics:
        if name in NEED_REAL and real is None:
            raise ValueError(
                f"evaluate.metrics must not list {name}: the reference has no features, only their moments; "
                "drop it, or make the reference from images"
            )
    if real is not None and "kid" in evaluate.metrics and len(real) < evaluate.kid_images:
        raise ValueError(
            f"evaluate.kid_images must be at most the {len(real)} images of the reference, got {evaluate.kid_images}"
        )


def needs_held_out(evaluate: EvaluateParams) -> bool:
    """Whether real images beside those of the reference are looked at."""
    return evaluate.floor or "memorization" in evaluate.metrics


def compare(
    rows: Features,
    held_out: Features | None,
    real: Features | None,
    reference: Statistics,
    extractor: Extractor,
    evaluate: EvaluateParams,
) -> Compared:
    """Put together what the metrics are computed from.

    Args:
        rows: of the samples, (images, dim + num_logits).
        held_out: of held-out real images, alike.
        real: of the reference, (images, dim).
    """
    dim = len(reference.mean)
    logits = rows[:, dim:] if extractor.kind.num_logits else None
    with one_thread():
        moments = gaussian(reference.mean, reference.covariance)
    seen = None if held_out is None else held_out[:, :dim]
    return Compared(rows[:, :dim], logits, moments, reference.num_images, real, seen, evaluate)


def evaluate(
    compared: Compared,
    reference: Statistics,
    extractor: Extractor,
    protocol: Protocol,
    held_out: Protocol | None,
    tick: Callable[[int], object] = lambda count: None,  # noqa: ARG005
) -> dict[str, Any]:
    """The content of metrics.json: one record per number, under its name with the count, each with its protocol.

    Args:
        protocol: of the samples.
        held_out: of the real images that the floor is of, if there are any.
        tick: called after each metric of `evaluate.metrics`.
    """
    records: dict[str, Any] = {}
    for name in compared.settings.metrics:
        with one_thread():
            measured = METRICS[name](compared)
        for key, found in measured.items():
            measured_as = held_out if held_out and key.endswith("_floor") else protocol
            record = _record(key, found, reference, extractor, measured_as)
            records[record["name"]] = record
        tick(1)
    return records


def distance(rows: Features, reference: Statistics, extractor: Extractor, protocol: Protocol) -> dict[str, Any]:
    """The record of the Frechet distance alone, without interval and floor.

    Raises:
        ValueError: fewer than two images, or features of another family.
    """
    dim = len(reference.mean)
    found = feature_moments(rows[:, :dim])
    with one_thread():
        value = frechet_distance(found.mean, found.covariance(), reference.mean, reference.covariance)
    measured = {"value": value, "num_images": found.num_images, "num_reference": reference.num_images}
    return _record("frechet", measured, reference, extractor, protocol)


def _record(
    key: str, measured: Mapping[str, Any], reference: Statistics, extractor: Extractor, protocol: Protocol
) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in measured.items()}
    return metric_record(metric_name(key, extractor), plain, extractor, reference, protocol)


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python: JSON knows no others."""
    return value.item() if isinstance(value, np.generic) else value
