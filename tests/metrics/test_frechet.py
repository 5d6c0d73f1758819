"""The Fréchet distance against closed forms, against the square root of a matrix, and where ranks are short."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.metrics.frechet import frechet_between, frechet_distance, gaussian
from ddpm.metrics.moments import moments

finite = st.floats(-100, 100)
deviation = st.floats(0, 100)


def sample(num_images: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_images, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def sample_moments(num_images: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    found = moments([sample(num_images, dim, seed)])
    return found.mean, found.covariance()


@pytest.mark.parametrize(("num_images", "dim"), [(400, 20), (10, 64), (2, 64)])
def test_distance_to_itself_is_zero(num_images, dim):
    mean, cov = sample_moments(num_images, dim, 0)
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
    first, second = sample_moments(num_1, dim, seed), sample_moments(num_2, dim, seed + 1)
    forth, back = frechet_distance(*first, *second), frechet_distance(*second, *first)
    assert forth >= 0.0
    assert forth == pytest.approx(back, rel=1e-8, abs=1e-8)


def test_equals_the_square_root_of_the_product():
    (mean_1, cov_1), (mean_2, cov_2) = sample_moments(500, 30, 1), sample_moments(800, 30, 2)
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


def spectra(dim: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Standard deviations along common axes, of two Gaussians each."""
    index = np.arange(dim)
    flat, power = 0.5 + index / dim, (1.0 + index) ** -1.0
    steep = np.exp(-12.0 * index / dim)  # variances down to 4e-11 of the largest
    low, high = index < dim // 4, index >= dim // 2
    return {
        "full": (flat, flat[::-1]),
        "power": (power, flat),
        "exponential": (steep, power),
        "short rank, both": (flat * low, power * low),
        "short rank, one": (power * low, flat),
        "disjoint supports": (flat * low, flat * high),
        "constant": (0.0 * flat, flat),
    }


def commuting_error(std_1: np.ndarray, std_2: np.ndarray) -> float:
    """Error against |shift|^2 + sum (std_1 - std_2)^2, relative to the traces and the shift."""
    dim = len(std_1)
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    shift = rng.normal(size=dim) / np.sqrt(dim)
    cov_1, cov_2 = ((scaled @ scaled.T) for scaled in (turn * std_1, turn * std_2))
    found = frechet_distance(shift, cov_1, np.zeros(dim), cov_2)
    return abs(found - shift @ shift - ((std_1 - std_2) ** 2).sum()) / max(1.0, found)


@pytest.mark.parametrize("name", spectra(8))
def test_closed_forms_of_many_dimensions(name):
    assert commuting_error(*spectra(300)[name]) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", spectra(8))
def test_closed_forms_at_the_width_of_inception(name):
    assert commuting_error(*spectra(2048)[name]) < 1e-8


def test_one_reference_serves_many_distances():
    reference = sample_moments(200, 40, 7)
    ready = gaussian(*reference)
    assert ready.factor.shape == (40, 40)
    assert np.abs(ready.factor @ ready.factor.T - ready.covariance).max() < 1e-12 * np.trace(ready.covariance)
    for seed in (8, 9):
        other = sample_moments(30, 40, seed)
        assert frechet_between(gaussian(*other), ready) == frechet_distance(*other, *reference)
    assert gaussian(*sample_moments(11, 40, 3)).factor.shape == (40, 10)


@pytest.mark.parametrize("seed", range(60))
def test_covariances_that_went_through_float32(seed):
    """They are indefinite by 1e-8; the distance to the exact one is of that order, and none is refused."""
    rows = np.random.default_rng(seed).normal(size=(12, 64)).astype(np.float32)
    rows -= rows.mean(axis=0)
    exact = rows.astype(np.float64).T @ rows / 11
    rounded = (rows.T @ rows / np.float32(11)).astype(np.float64)
    assert np.linalg.eigvalsh(rounded)[0] < 0
    assert frechet_distance(np.zeros(64), exact, np.zeros(64), rounded) < 1e-5 * np.trace(exact)
    factor = gaussian(np.zeros(64), rounded).factor
    assert np.abs(factor @ factor.T - rounded).max() < 2e-7 * rounded.max()  # pivots of noise would leave up to 1e-3


def test_constant_features_have_a_distance():
    zero, one = np.zeros((3, 3)), np.ones(3)
    assert frechet_distance(one, zero, 3 * one, zero) == 12.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_2": np.zeros(4)}, r"mean_2 .* must agree in dim, got \(4,\) and \(3, 3\)"),
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


def test_gaussians_of_two_widths_are_refused():
    with pytest.raises(ValueError, match=r"must agree in dim, got \(3,\) and \(4,\)"):
        frechet_between(gaussian(np.zeros(3), np.eye(3)), gaussian(np.zeros(4), np.eye(4)))
