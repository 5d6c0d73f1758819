"""The Fréchet distance against closed forms, against the square root of a matrix, and where ranks are short."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.moments import moments

finite = st.floats(-100, 100)
deviation = st.floats(0, 100)


def sample(num_images: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_images, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def gaussian(num_images: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    found = moments([sample(num_images, dim, seed)])
    return found.mean, found.covariance()


@pytest.mark.parametrize(("num_images", "dim"), [(400, 20), (10, 64), (2, 64)])
def test_distance_to_itself_is_zero(num_images, dim):
    mean, cov = gaussian(num_images, dim, 0)
    assert frechet_distance(mean, cov, mean, cov) <= 1e-12 * np.trace(cov)


@settings(deadline=None)
@given(finite, deviation, finite, deviation)
def test_one_dimension(mean_1, std_1, mean_2, std_2):
    found = frechet_distance(*(np.array(v) for v in ([mean_1], [[std_1**2]], [mean_2], [[std_2**2]])))
    exact = (mean_1 - mean_2) ** 2 + (std_1 - std_2) ** 2
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(finite, deviation, finite, deviation), min_size=1, max_size=6), st.integers(0, 2**16))
def test_covariances_that_commute(columns, seed):
    """A common rotation of two diagonal Gaussians: |mean_1 - mean_2|^2 + sum (std_1 - std_2)^2."""
    mean_1, std_1, mean_2, std_2 = np.array(columns).T
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(columns),) * 2))[0]
    cov_1, cov_2 = (turn * std_1**2) @ turn.T, (turn * std_2**2) @ turn.T
    exact = ((mean_1 - mean_2) ** 2).sum() + ((std_1 - std_2) ** 2).sum()
    # a root of an eigenvalue known to 1e-16 * 1e4 is known to 1e-6
    assert frechet_distance(turn @ mean_1, cov_1, turn @ mean_2, cov_2) == pytest.approx(exact, rel=1e-9, abs=2e-3)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**16))
def test_symmetric_and_not_negative(dim, num_1, num_2, seed):
    first, second = gaussian(num_1, dim, seed), gaussian(num_2, dim, seed + 1)
    forth, back = frechet_distance(*first, *second), frechet_distance(*second, *first)
    assert forth >= 0.0
    assert forth == pytest.approx(back, rel=1e-8, abs=1e-8)


def test_equals_the_square_root_of_the_product():
    (mean_1, cov_1), (mean_2, cov_2) = gaussian(500, 30, 1), gaussian(800, 30, 2)
    root = scipy.linalg.sqrtm(cov_1 @ cov_2).real
    exact = ((mean_1 - mean_2) ** 2).sum() + np.trace(cov_1) + np.trace(cov_2) - 2 * np.trace(root)
    assert frechet_distance(mean_1, cov_1, mean_2, cov_2) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("num_1", "num_2"), [(10, 10), (5, 200), (200, 7), (2, 2)])
def test_fewer_images_than_dimensions(num_1, num_2):
    """The centered samples are factors themselves: the trace is the nuclear norm of their product."""
    dim = 50
    first, second = sample(num_1, dim, 3), sample(num_2, dim, 4)
    factor_1, factor_2 = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (first, second))
    traces = (factor_1**2).sum() + (factor_2**2).sum()
    shift = first.mean(axis=0) - second.mean(axis=0)
    exact = shift @ shift + traces - 2 * np.linalg.svd(factor_1 @ factor_2.T, compute_uv=False).sum()
    one, two = moments([first]), moments([second])
    found = frechet_distance(one.mean, one.covariance(), two.mean, two.covariance())
    assert found == pytest.approx(exact, rel=1e-11)


def test_constant_features_have_a_distance():
    zero, one = np.zeros((3, 3)), np.ones(3)
    assert frechet_distance(one, zero, 3 * one, zero) == 12.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_2": np.zeros(4)}, r"must agree in dim, got \(3,\), \(4,\)"),
        ({"cov_1": np.eye(4)}, "must agree in dim"),
        ({"cov_1": np.zeros((3, 2))}, "must agree in dim"),
        ({"mean_1": np.zeros((1, 3))}, "mean_1 must have 1 dim"),
        ({"mean_1": np.array([0, np.nan, 0])}, "mean_1 must be finite"),
        ({"cov_2": np.full((3, 3), np.inf)}, "cov_2 must be finite"),
        ({"cov_2": -np.eye(3)}, "cov_2 must be positive semi-definite, got the eigenvalue -1"),
        ({"cov_1": np.diag([1.0, 1.0, -0.1])}, "cov_1 must be positive semi-definite"),
        ({"cov_1": np.triu(np.ones((3, 3)))}, "cov_1 must be symmetric"),
    ],
)
def test_refused(change, message):
    arguments = {"mean_1": np.zeros(3), "cov_1": np.eye(3), "mean_2": np.zeros(3), "cov_2": np.eye(3)} | change
    with pytest.raises(ValueError, match=message):
        frechet_distance(**arguments)
