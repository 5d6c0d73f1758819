"""The inception score: torch-fidelity's numbers, and logits whose score is known."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from ddpm.metrics.inception_score import inception_score


@pytest.mark.parametrize(("num_images", "splits", "seed"), [(500, 10, 2020), (103, 10, 2020), (50, 1, 3), (7, 7, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_torch_fidelity(num_images, splits, seed, dtype):
    logits = (3 * np.random.default_rng(1).normal(size=(num_images, 40))).astype(dtype)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits, True, seed)
    mean, std = inception_score(logits, num_splits=splits, seed=seed)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert std == pytest.approx(theirs["inception_score_std"], rel=1e-10, abs=1e-14)


def test_defaults_are_those_of_torch_fidelity():
    logits = np.random.default_rng(2).normal(size=(200, 12))
    theirs = isc_features_to_metric(torch.from_numpy(logits))
    assert inception_score(logits) == pytest.approx(tuple(theirs.values()), rel=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_nothing_known_scores_1(offset):
    mean, std = inception_score(np.full((100, 1008), offset))
    assert mean == pytest.approx(1.0, abs=1e-12)
    assert std == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("height", [50.0, 1e4])
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_certain_and_even_over_k_classes_scores_k(classes, height):
    """Also where the probabilities of the other classes underflow to 0."""
    logits = height * np.eye(20)[np.arange(120) % classes]
    assert inception_score(logits, num_splits=1)[0] == pytest.approx(classes, rel=1e-9)


def test_a_constant_added_to_an_image_changes_nothing():
    logits = np.random.default_rng(3).normal(size=(60, 9))
    shifted = logits + 100 * np.random.default_rng(4).normal(size=(60, 1))
    assert inception_score(shifted) == pytest.approx(inception_score(logits), rel=1e-9)


@pytest.mark.parametrize(
    ("logits", "splits", "message"),
    [
        (np.ones((9, 5)), 10, "logits must hold at least 10 image"),
        (np.ones((9, 5)), 0, "num_splits must be at least 1, got 0"),
        (np.ones(9), 1, r"logits must have shape \(images, dim\)"),
        (np.full((9, 5), np.inf), 1, "logits must be finite"),
    ],
)
def test_refused(logits, splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(logits, num_splits=splits)
