"""Extrapolation to infinitely many samples: exact lines, prefixes to the bit, and a toy whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.metrics.extrapolation import EXTRAPOLATE_FROM, at_infinity, counts, distances_by_count
from ddpm.metrics.frechet import frechet_between, gaussian
from ddpm.metrics.moments import moments


@settings(deadline=None)
@given(st.floats(0, 100), st.floats(0, 1e5), st.lists(st.integers(5_000, 10**6), min_size=3, max_size=9, unique=True))
def test_an_exact_line_gives_its_value(value, slope, images):
    found = at_infinity(images, [value + slope / n for n in images])
    scale = 1.0 + value + slope / 5_000
    # counts close to each other carry rounding far
    lever = (1 / 5_000) / np.ptp(1.0 / np.array(images))
    assert found.value == pytest.approx(value, abs=1e-14 * scale * lever + 1e-12 * scale)
    assert found.standard_error <= 1e-12 * scale * lever + 1e-12 * scale


def test_slope_and_standard_error_are_those_of_least_squares():
    images = np.array([5_000, 7_000, 10_000, 20_000, 50_000])
    distances = 3.0 + 9_000 / images + np.array([0.01, -0.02, 0.02, 0.005, -0.01])
    (slope, value), covariance = np.polyfit(1.0 / images, distances, 1, cov=True)
    found = at_infinity(images.tolist(), distances.tolist())
    assert found.value == pytest.approx(value, rel=1e-9)
    assert found.slope == pytest.approx(slope, rel=1e-9)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-6)


def test_counts_are_even_in_1_over_n():
    found = counts(50_000, 10, 5_000)
    assert (found[0], found[-1], len(found)) == (5_000, 50_000, 10)
    steps = np.diff(1.0 / np.array(found))
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.01)
    assert found == sorted(set(found))


@pytest.mark.parametrize("limits", [(50, 10, 49), (5_000, 3, 5_000), (10, 3, 20), (0, 3, 2)])
def test_counts_refuse_too_few_images(limits):
    with pytest.raises(ValueError, match="must grow, got"):
        counts(*limits)


def test_counts_refuse_too_few_points():
    with pytest.raises(ValueError, match="got 2 points from 5 images"):
        counts(100, 2, 5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prefixes_equal_moments_to_the_bit(dtype):
    rows = np.random.default_rng(0).normal(size=(1100, 6)).astype(dtype)
    reference = gaussian(np.ones(6), 2 * np.eye(6))
    sizes = [2, 255, 256, 300, 301, 768, 1100]
    exact = []
    for size in sizes:
        found = moments([rows[:size]])
        exact.append(frechet_between(gaussian(found.mean, found.covariance()), reference))
    assert distances_by_count(rows, sizes, reference) == exact


def test_extrapolation_takes_the_bias_away():
    """Draws of the reference itself: what they score is all bias, and the extrapolated number is near 0."""
    dim = 40
    reference = gaussian(np.zeros(dim), np.eye(dim))
    rows = np.random.default_rng(1).normal(size=(20_000, dim))
    images = counts(len(rows), 8, EXTRAPOLATE_FROM)
    distances = distances_by_count(rows, images, reference)
    found = at_infinity(images, distances)
    assert distances[0] > 3 * distances[-1] > 0
    assert abs(found.value) < 0.15 * distances[-1]
    assert found.slope == pytest.approx(distances[-1] * len(rows), rel=0.15)


@pytest.mark.parametrize(
    ("images", "distances", "message"),
    [
        ([4_999, 6_000, 7_000], [1.0, 1.0, 1.0], "must be at least 5000, got 4999: evaluate more images"),
        ([5_000, 6_000], [1.0, 1.0], "at least 3 different counts"),
        ([5_000, 6_000, 6_000], [1.0, 1.0, 1.0], "at least 3 different counts"),
        ([5_000, 6_000, 7_000], [1.0, 1.0], r"one finite distance .* got shapes \(3,\) and \(2,\)"),
        ([5_000, 6_000, 7_000], [1.0, 1.0, np.nan], "one finite distance"),
    ],
)
def test_at_infinity_refuses(images, distances, message):
    with pytest.raises(ValueError, match=message):
        at_infinity(images, distances)


@pytest.mark.parametrize("sizes", [[], [1, 5], [5, 5], [7, 6], [5, 21]])
def test_distances_refuse_counts_that_do_not_grow(sizes):
    with pytest.raises(ValueError, match="counts must grow from 2 to at most 20"):
        distances_by_count(np.ones((20, 3)), sizes, gaussian(np.zeros(3), np.eye(3)))
