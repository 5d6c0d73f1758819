"""Metrics put together: what each reads, at which counts, and what stands beside its value."""

import dataclasses
import json
import re

import numpy as np
import pytest

from ddpm.engine.evaluate import compare, require_metrics, require_protocol
from ddpm.engine.features import feature_moments
from ddpm.engine.measure import METRICS, NEED_REAL
from ddpm.metrics.extrapolation import EXTRAPOLATE_FROM
from ddpm.metrics.features import Extractor
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.images import pooled_pixels
from ddpm.metrics.statistics import Statistics
from ddpm.metrics.weights import CANONICAL_SHA256

DIM = 6


def rows_of(count, shift, seed, width=DIM):
    return (np.random.default_rng(seed).normal(size=(count, width)) + shift).astype(np.float32)


REAL, HELD_OUT, SAMPLES = rows_of(400, 0.0, 0), rows_of(150, 0.0, 1), rows_of(200, 0.3, 2)
PIXELS = Extractor("pixels", None, pooled_pixels)
FOUND = feature_moments(REAL)
IDENTITY = {"features": "pixels", "family": "pixels", "weights_sha256": None, "data_sha256": ""}
STATISTICS = Statistics(FOUND.mean, FOUND.covariance(), 400, {**IDENTITY, "crop": "none", "size": 8, "split": "train"})


@pytest.fixture
def compared(tiny):
    """200 samples, 400 real images and 150 held-out ones, with parameters of `evaluate`."""

    def make(*overrides, samples=SAMPLES, held_out=HELD_OUT):
        counts = f"sample.num_images={len(samples)}", f"evaluate.num_images={len(samples)}"
        params = tiny(*counts, *overrides)
        return compare(samples, held_out, REAL, STATISTICS, PIXELS, params.evaluate)

    return make


def distance(rows):
    found = feature_moments(rows)
    return frechet_distance(found.mean, found.covariance(), STATISTICS.mean, STATISTICS.covariance)


def test_the_distance_its_floor_and_both_at_one_count(compared):
    found = METRICS["frechet"](compared())
    assert found["frechet"]["value"] == pytest.approx(distance(SAMPLES), rel=1e-12)
    assert found["frechet"]["value"] == pytest.approx(DIM * 0.3**2, rel=0.4)
    interval = found["frechet"]["interval"]
    assert interval["low"] < found["frechet"]["value"] < interval["high"]
    floor = found["frechet_floor"]
    assert floor["value"] == pytest.approx(distance(HELD_OUT), rel=1e-12)
    assert floor["samples_at_this_count"] == pytest.approx(distance(SAMPLES[:150]), rel=1e-12)
    assert (floor["num_images"], floor["num_reference"]) == (150, 400)


def test_what_is_switched_off_is_left_out(compared):
    found = METRICS["frechet"](compared("evaluate.interval_groups=0", "evaluate.floor=false"))
    assert list(found) == ["frechet"]
    assert found["frechet"].keys() == {"value", "num_images", "num_reference"}


def test_values_at_smaller_counts(compared):
    found = METRICS["frechet"](compared("evaluate.curve_points=4"))["frechet"]
    counts = [int(count) for count in found["by_count"]]
    assert counts[0] == 25
    assert counts[-1] == 200
    assert counts == sorted(set(counts))
    assert found["by_count"] == {str(count): pytest.approx(distance(SAMPLES[:count])) for count in counts}
    assert found["at_infinity"] is None


def test_enough_samples_tell_what_infinitely_many_would_score(compared):
    many = rows_of(2 * EXTRAPOLATE_FROM, 0.3, 3)
    few = ("evaluate.curve_points=8", "evaluate.interval_groups=0")
    found = METRICS["frechet"](compared(*few, samples=many))["frechet"]
    assert next(iter(found["by_count"])) == str(EXTRAPOLATE_FROM)
    assert found["at_infinity"]["value"] == pytest.approx(found["value"], rel=0.05)
    assert found["at_infinity"]["value"] != found["value"]


def test_kid_has_its_subsets_and_interval(compared):
    found = METRICS["kid"](compared("evaluate.kid_images=50", "evaluate.kid_subsets=7"))["kid"]
    assert (found["subsets"], found["images_of_subset"]) == (7, 50)
    assert found["interval"]["low"] < found["value"] < found["interval"]["high"]
    assert "interval" not in METRICS["kid"](compared("evaluate.kid_images=150"))["kid"]


def test_neighbors_are_looked_for_among_as_many_as_allowed(compared):
    found = METRICS["precision-recall"](compared("evaluate.neighbor_images=100"))
    assert {record["num_images"] for record in found.values()} == {100}
    assert {record["num_reference"] for record in found.values()} == {100}
    assert all(0 < record["value"] <= 1 for record in found.values())
    copies = METRICS["memorization"](compared("evaluate.neighbor_images=100"))["memorization"]
    assert (copies["num_images"], copies["num_reference"], copies["num_held_out"]) == (100, 400, 100)
    assert METRICS["memorization"](compared(samples=REAL[:200]))["memorization"]["value"] == 1.0


def test_logits_lie_behind_the_features(tiny):
    """Two classes, equally often and without doubt: a score of 2."""
    inception = Extractor("inception", CANONICAL_SHA256, pooled_pixels)
    logits = np.zeros((200, 1008), np.float32)
    logits[np.arange(200), np.arange(200) % 2] = 100
    rows = np.concatenate([SAMPLES, logits], axis=1)
    compared = compare(rows, None, REAL, STATISTICS, inception, tiny().evaluate)
    assert compared.samples.shape == (200, DIM)
    assert METRICS["inception-score"](compared)["inception_score"]["value"] == pytest.approx(2, rel=0.1)
    assert compare(SAMPLES, None, REAL, STATISTICS, PIXELS, tiny().evaluate).logits is None


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_json_and_says_its_counts(metric, compared):
    inception = dataclasses.replace(compared(), logits=rows_of(200, 0.0, 5, 1008))
    for record in METRICS[metric](inception).values():
        assert record.keys() >= {"value", "num_images", "num_reference"}
        json.dumps(record, allow_nan=False)


def test_metrics_that_the_reference_cannot_serve_are_refused(tiny):
    for metric in NEED_REAL:
        with pytest.raises(ValueError, match=f"must not list {metric}: the reference has no features, only their mo"):
            require_metrics(tiny(f"evaluate.metrics=[{metric}]").evaluate, None)
    require_metrics(tiny("evaluate.metrics=[frechet]").evaluate, None)
    with pytest.raises(ValueError, match=r"evaluate\.kid_images must be at most the 3 images of the reference, got 4"):
        require_metrics(tiny().evaluate, REAL[:3])


def named(**changes):
    identity = {**STATISTICS.identity, "crop": "ddim-128", "resample": "bilinear", "features": "inception", **changes}
    return dataclasses.replace(STATISTICS, identity=identity)


MANIFEST = {"crop": "ddim-128", "resample": "bilinear", "size": 8}


@pytest.mark.parametrize(
    ("name", "reference", "manifest", "message"),
    [
        ("ddim-128", {"crop": "squash"}, None, "evaluate.protocol ddim-128: crop of the reference must be ddim-128"),
        ("ddim-128", {"split": "train[0:9]"}, None, "split of the reference must be train, got train"),
        ("ddim-128", {"features": "pixels"}, None, "features of the reference must be inception or pytorch-fid"),
        ("own", {"crop": "squash"}, MANIFEST, "held-out images: crop must be squash as in the reference, got ddim-128"),
        ("own", {"resample": "box"}, MANIFEST, "held-out images: resample must be box"),
        ("own", {"size": [8, 16]}, MANIFEST, "held-out images: size must be [8, 16] as in the reference, got 8; name"),
    ],
)
def test_what_was_measured_otherwise_is_refused(name, reference, manifest, message):
    require_protocol(name, named(), MANIFEST)
    require_protocol("own", named(crop="none"), None)
    with pytest.raises(ValueError, match=re.escape(message)):
        require_protocol(name, named(**reference), manifest)
