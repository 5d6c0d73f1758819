"""What metrics.json says beside a number."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddpm.metrics.features import Extractor, build_extractor
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.images import pooled_pixels
from ddpm.metrics.moments import moments
from ddpm.metrics.record import Protocol, display_name, grade, metric_name, metric_record, summary, warning
from ddpm.metrics.statistics import Statistics
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256

PIXELS = build_extractor("pixels", weights=None, download=False, device=torch.device("cpu"))
REFERENCE = Statistics(
    np.zeros(2),
    np.eye(2),
    50_000,
    {
        "features": "pixels",
        "family": "pixels",
        "weights_sha256": None,
        "data_sha256": "ab" * 32,
        "crop": "ddim-128",
        "size": 64,
        "split": "train",
    },
)


PROTOCOL = Protocol("ddim-128", "uint8 npy", "cd" * 32, "ef" * 32)


def measured(value=1.5, num_images=500, num_reference=50_000):
    return {"value": value, "num_images": num_images, "num_reference": num_reference}


def test_record_names_its_protocol():
    record = metric_record("kid_pixels", {**measured(), "std": 0.1}, PIXELS, REFERENCE, PROTOCOL)
    assert json.loads(json.dumps(record)) == {
        "name": "kid_pixels@500",
        "value": 1.5,
        "std": 0.1,
        "num_images": 500,
        "num_reference": 50_000,
        "features": "pixels",
        "family": "pixels",
        "weights_sha256": None,
        "reference_sha256": "ef" * 32,
        "samples_sha256": "cd" * 32,
        "grade": "smoke only",
        "protocol": {
            "name": "ddim-128",
            "source": None,
            "crop": "ddim-128",
            "resample": None,
            "size": 64,
            "split": "train",
            "sample_format": "uint8 npy",
        },
    }


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(2, "smoke only"), (2_047, "smoke only"), (2_048, "low count"), (9_999, "low count"), (10_000, "ok")],
)
def test_grades_follow_the_smaller_side_and_are_said(num_images, expected):
    assert grade(num_images) == expected
    for sides in ({"num_images": num_images}, {"num_reference": num_images, "num_images": 50_000}):
        record = metric_record("kid_pixels", measured(**sides), PIXELS, REFERENCE, PROTOCOL)
        assert record["grade"] == expected
        line = warning({"kid_pixels": record})
        if expected == "ok":
            assert line is None
        else:
            assert line.startswith(f"kid_pixels@{record['num_images']}: {expected}: below ")
            assert "\n" not in line


def test_summary():
    about = {"interval": {"low": 1.25, "high": 1.75}, "samples_at_this_count": 2.0}
    records = {
        name: metric_record(name, {**measured(), **more}, PIXELS, REFERENCE, PROTOCOL)
        for name, more in {"kid_pixels": {}, "frechet_pixels": about}.items()
    }
    assert summary(records) == [
        "kid_pixels@500: 1.5000  (smoke only)",
        "frechet_pixels@500: 1.5000  95 % [1.25, 1.75]  of real images; as many samples: 2.0000  (smoke only)",
    ]


def test_names():
    assert display_name("fid", 28_000) == "fid@28000"
    assert metric_name("frechet", PIXELS) == "frechet_pixels"
    assert metric_name("frechet_floor", PIXELS) == "frechet_pixels_floor"
    assert metric_name("kid", PIXELS) == "kid_pixels"
    partial = Extractor("fid_768", PARTIAL_SHA256, pooled_pixels)
    names = [metric_name(name, partial) for name in ("frechet", "frechet_floor", "precision")]
    assert names == ["fid_768", "fid_768_floor", "precision_768"]
    canonical = Extractor("inception", CANONICAL_SHA256, pooled_pixels)
    assert [metric_name(name, canonical) for name in ("frechet", "kid")] == ["fid", "kid"]


OTHER = replace(REFERENCE, identity={**REFERENCE.identity, "family": "tf1"})


@pytest.mark.parametrize(
    ("numbers", "reference", "message"),
    [
        (measured(num_images=1), REFERENCE, "kid_pixels needs at least 2 images a side, got 1, 50000; give more"),
        (measured(num_reference=1), REFERENCE, "got 500, 1"),
        (measured(value=float("nan")), REFERENCE, "kid_pixels must be finite, got nan"),
        (measured(), OTHER, "family must agree"),
    ],
)
def test_refused(numbers, reference, message):
    with pytest.raises(ValueError, match=message):
        metric_record("kid_pixels", numbers, PIXELS, reference, PROTOCOL)


def test_from_images_to_record():
    """Same distribution near 0, another one far; the whole road that the engine takes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 128, (3, 600, 8, 8, 1), dtype=np.uint8) + np.array([0, 0, 100], np.uint8).reshape(
        3, 1, 1, 1, 1
    )
    real, same, other = (moments(map(PIXELS.extract, np.array_split(part, 7))) for part in images)
    near, far = (
        frechet_distance(found.mean, found.covariance(), real.mean, real.covariance()) for found in (same, other)
    )
    assert near < 0.15
    assert far == pytest.approx(64 * (100 / 255) ** 2, rel=0.05)
