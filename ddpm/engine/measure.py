"""The metrics that `evaluate.metrics` may name: each a function from what is compared to its numbers.

Rows arrive in an order that depends on nothing but the images (engine/features.py), so a prefix is a random subset.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from ddpm.engine.features import feature_moments
from ddpm.experiment.params import EvaluateParams
from ddpm.metrics.extrapolation import EXTRAPOLATE_FROM, at_infinity, counts, distances_by_count
from ddpm.metrics.frechet import Gaussian, frechet_between, gaussian
from ddpm.metrics.images import Features
from ddpm.metrics.inception_score import inception_score
from ddpm.metrics.intervals import frechet_interval
from ddpm.metrics.kernel import kernel_distance
from ddpm.metrics.manifold import precision_recall
from ddpm.metrics.memorization import memorization

Measured: TypeAlias = dict[str, dict[str, Any]]
"""Metric -> `value`, `num_images`, `num_reference`, and what else belongs to the number."""


@dataclass(frozen=True)
class Compared:
    """What all metrics are computed from.

    Attributes:
        samples: (images, dim).
        logits: (images, 1008); None where the extractor has none.
        reference: moments of the real images.
        num_reference: images behind them.
        real: features of the real images; None where only their moments are known.
        held_out: features of real images that the model never saw; None leaves out what needs them.
        settings: section `evaluate`.
    """

    samples: Features
    logits: Features | None
    reference: Gaussian
    num_reference: int
    real: Features | None
    held_out: Features | None
    settings: EvaluateParams


def frechet(compared: Compared) -> Measured:
    """The Frechet distance of samples and reference (Heusel et al. 2017), and the floor that real images reach.

    With its jackknife interval, its values at smaller counts, and, from 10,000 images on, what they tend to. The floor
    is the distance of held-out real images: what a perfect model would score at their count; the samples' own distance
    at that count stands beside it.
    """
    settings, samples, held_out = compared.settings, compared.samples, compared.held_out
    value = _distance(samples, compared)
    found: dict[str, Any] = {"value": value, **_sides(compared)}
    if settings.interval_groups:
        interval = frechet_interval(samples, compared.reference, groups=settings.interval_groups)
        found["interval"] = {"low": interval.low, "high": interval.high, "standard_error": interval.standard_error}
    if settings.curve_points:
        enough = len(samples) >= 2 * EXTRAPOLATE_FROM
        at = counts(len(samples), settings.curve_points, EXTRAPOLATE_FROM if enough else max(2, len(samples) // 8))
        distances = distances_by_count(samples, at, compared.reference)
        found["by_count"] = {str(count): distance for count, distance in zip(at, distances, strict=True)}
        found["at_infinity"] = asdict(at_infinity(at, distances)) if enough else None
    measured = {"frechet": found}
    if settings.floor and held_out is not None:
        same = samples[: len(held_out)]
        measured["frechet_floor"] = {
            "value": _distance(held_out, compared),
            "num_images": len(held_out),
            "num_reference": compared.num_reference,
            "samples_at_this_count": value if len(same) == len(samples) else _distance(same, compared),
        }
    return measured


def _distance(rows: Features, compared: Compared) -> float:
    found = feature_moments(rows)
    return frechet_between(gaussian(found.mean, found.covariance()), compared.reference)


def _sides(compared: Compared) -> dict[str, int]:
    return {"num_images": len(compared.samples), "num_reference": compared.num_reference}


def kid(compared: Compared) -> Measured:
    """Kernel distance (Binkowski et al. 2018), as torch-fidelity computes it, with an interval from disjoint blocks."""
    assert compared.real is not None
    subsets, images = compared.settings.kid_subsets, compared.settings.kid_images
    found = kernel_distance(compared.samples, compared.real, num_subsets=subsets, subset_images=images)
    low_high = {} if found.interval is None else {"interval": {"low": found.interval[0], "high": found.interval[1]}}
    setting = {"std": found.std, "subsets": subsets, "images_of_subset": images}
    return {"kid": {"value": found.mean, **setting, **low_high, **_sides(compared)}}


def score(compared: Compared) -> Measured:
    """Inception Score (Salimans et al. 2016) over 10 splits; it knows no real images."""
    assert compared.logits is not None
    mean, std = inception_score(compared.logits)
    return {"inception_score": {"value": mean, "std": std, "splits": 10, **_sides(compared)}}


def precision(compared: Compared) -> Measured:
    """Improved precision and recall (Kynkaanniemi et al. 2019), in these features: ADM's choice, not its VGG16."""
    assert compared.real is not None
    neighbors, most = compared.settings.neighbors, compared.settings.neighbor_images
    samples, real = compared.samples[:most], compared.real[:most]
    values = precision_recall(samples, real, neighbors=neighbors)
    sides = {"num_images": len(samples), "num_reference": len(real), "neighbors": neighbors}
    return {name: {"value": value, **sides} for name, value in zip(("precision", "recall"), values, strict=True)}


def copies(compared: Compared) -> Measured:
    """How much nearer samples lie to training images than unseen real images do (Meehan et al. 2020): 0.5 is right."""
    assert compared.real is not None
    assert compared.held_out is not None
    most = compared.settings.neighbor_images
    samples, held_out = compared.samples[:most], compared.held_out[:most]
    found = memorization(samples, compared.real, held_out)
    sides = {"num_images": len(samples), "num_reference": len(compared.real), "num_held_out": len(held_out)}
    return {"memorization": {**asdict(found), **sides}}


METRICS: dict[str, Callable[[Compared], Measured]] = {
    "frechet": frechet,
    "kid": kid,
    "inception-score": score,
    "precision-recall": precision,
    "memorization": copies,
}
NEED_REAL = ("kid", "precision-recall", "memorization")
"""These need the features of the real images, which foreign statistics do not hold."""
