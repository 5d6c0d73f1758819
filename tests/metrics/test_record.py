"""What metrics.json says beside a number."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddpm.metrics.features import build_extractor
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.moments import moments
from ddpm.metrics.record import display_name, frechet_record, grade
from ddpm.metrics.statistics import Statistics

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


def test_record_names_its_protocol():
    record = frechet_record(1.5, PIXELS, 500, REFERENCE)
    assert json.loads(json.dumps(record)) == {
        "name": "frechet_pixels@500",
        "value": 1.5,
        "num_images": 500,
        "num_reference": 50_000,
        "features": "pixels",
        "family": "pixels",
        "weights_sha256": None,
        "grade": "smoke only",
        "protocol": {"crop": "ddim-128", "size": 64, "split": "train", "sample_format": "uint8 npy"},
    }


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(2, "smoke only"), (2_047, "smoke only"), (2_048, "low count"), (9_999, "low count"), (10_000, "ok")],
)
def test_grades(num_images, expected):
    assert grade(num_images) == expected
    assert frechet_record(0.0, PIXELS, num_images, REFERENCE)["grade"] == expected
    assert frechet_record(0.0, PIXELS, 50_000, replace(REFERENCE, num_images=num_images))["grade"] == expected


def test_display_name():
    assert display_name("fid", 28_000) == "fid@28000"


@pytest.mark.parametrize(
    ("value", "num_images", "reference", "message"),
    [
        (1.0, 1, REFERENCE, "frechet_pixels needs at least 2 images a side, got 1, 50000"),
        (1.0, 500, replace(REFERENCE, num_images=1), "got 500, 1"),
        (float("nan"), 500, REFERENCE, "must be finite and 0 or more, got nan"),
        (-0.1, 500, REFERENCE, "must be finite and 0 or more, got -0.1"),
        (1.0, 500, replace(REFERENCE, identity={**REFERENCE.identity, "family": "tf1"}), "family must agree"),
    ],
)
def test_refused(value, num_images, reference, message):
    with pytest.raises(ValueError, match=message):
        frechet_record(value, PIXELS, num_images, reference)


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
