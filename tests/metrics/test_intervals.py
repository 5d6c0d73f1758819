"""The jackknife interval against the true spread of repeated draws."""

import numpy as np
import pytest

from ddpm.metrics.frechet import Gaussian, frechet_between, gaussian
from ddpm.metrics.intervals import frechet_interval
from ddpm.metrics.moments import moments

DIM, NUM_IMAGES = 10, 400


@pytest.fixture(scope="module")
def reference() -> Gaussian:
    return gaussian(np.zeros(DIM), np.eye(DIM))


def draw(seed: int) -> np.ndarray:
    """Another Gaussian, a true distance of 1.1 away."""
    return 1.2 * np.random.default_rng(seed).normal(size=(NUM_IMAGES, DIM)) + 0.27


def distance(rows: np.ndarray, reference: Gaussian) -> float:
    found = moments([rows])
    return frechet_between(gaussian(found.mean, found.covariance()), reference)


def test_standard_error_is_the_spread_over_draws(reference):
    distances = [distance(draw(seed), reference) for seed in range(300)]
    errors = [frechet_interval(draw(seed), reference, groups=20).standard_error for seed in range(40)]
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.35)


def test_interval_covers_what_other_draws_score_on_average(reference):
    expected = np.mean([distance(draw(seed), reference) for seed in range(300)])
    found = [frechet_interval(draw(1000 + seed), reference, groups=10) for seed in range(100)]
    assert 88 <= sum(interval.low <= expected <= interval.high for interval in found) <= 100


def test_a_bootstrap_would_lie_above(reference):
    """The reason why there is none: two draws of one distribution, where the distance is all bias."""
    rows = np.random.default_rng(3).normal(size=(NUM_IMAGES, DIM))
    rng = np.random.default_rng(4)
    found = frechet_interval(rows, reference, groups=20)
    redrawn = [distance(rows[rng.integers(0, NUM_IMAGES, NUM_IMAGES)], reference) for _ in range(200)]
    assert np.quantile(redrawn, 0.025) > found.distance
    assert found.low < found.distance < found.high


def test_equals_the_formula_on_groups_left_out(reference):
    rows = draw(5)[:203]  # groups of 21 and 20
    found = frechet_interval(rows, reference, groups=10)
    rests = [distance(np.delete(rows, np.s_[g::10], axis=0), reference) for g in range(10)]
    assert found.standard_error == pytest.approx(np.sqrt(0.9 * np.var(rests) * 10), rel=1e-9)
    assert found.distance == distance(rows, reference)  # to the bit: the number that is recorded
    assert found.high - found.distance == pytest.approx(2.2621571627409915 * found.standard_error, rel=1e-9)


def test_low_is_never_below_0():
    rows = np.random.default_rng(6).normal(size=(40, 2))
    found = moments([rows])
    interval = frechet_interval(rows, gaussian(found.mean, found.covariance()), groups=2)
    assert interval.distance == pytest.approx(0.0, abs=1e-12)
    assert interval.low == 0.0


def test_fewer_images_than_dimensions():
    rng = np.random.default_rng(7)
    reference = gaussian(np.zeros(60), np.eye(60))
    found = frechet_interval(rng.normal(size=(40, 60)).astype(np.float32), reference, groups=5)
    assert 0.0 < found.low < found.distance


@pytest.mark.parametrize(
    ("rows", "groups", "message"),
    [
        (np.ones((20, DIM)), 1, "groups must be at least 2, got 1"),
        (np.ones((20, DIM)), 11, "rows must hold at least 22 image"),
        (np.full((20, DIM), np.inf), 2, "rows must be finite"),
        (np.ones((20, DIM + 1)), 2, r"agree in dim, got \(11,\) and \(10,\)"),
    ],
)
def test_refused(rows, groups, message, reference):
    with pytest.raises(ValueError, match=message):
        frechet_interval(rows, reference, groups=groups)
