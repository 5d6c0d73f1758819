"""The data-copying test on copies, on fresh draws and on noise, and its ranks against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from ddpm.metrics.memorization import compared, memorization, nearer_share


def normal(num_images: int, seed: int, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_images, dim))


TRAIN, HELD_OUT = normal(600, 0), normal(300, 1)


def test_copies():
    found = memorization(TRAIN[:200], TRAIN, HELD_OUT)
    assert (found.value, found.nearer_share) == (1.0, 1.0)
    assert found.z < -15


def test_fresh_draws_are_like_held_out_images():
    found = memorization(normal(400, 2), TRAIN, HELD_OUT)
    assert found.value == pytest.approx(0.5, abs=0.07)
    assert abs(found.z) < 3
    assert found.nearer_share < 0.04


def test_far_noise():
    found = memorization(50 * normal(200, 3), TRAIN, HELD_OUT)
    assert found.value < 0.01
    assert found.z > 15
    assert found.nearer_share == 0.0


def test_copies_among_far_samples_show_in_the_share_only():
    mixed = np.concatenate([TRAIN[:40], 50 * normal(160, 3)])
    found = memorization(mixed, TRAIN, HELD_OUT)
    assert found.value < 0.25
    assert found.nearer_share == 0.2


def test_order_does_not_matter():
    rng = np.random.default_rng(4)
    samples = np.concatenate([normal(100, 5), TRAIN[:30] + 0.01])
    first = memorization(samples, TRAIN, HELD_OUT)
    again = memorization(*(rng.permutation(rows) for rows in (samples, TRAIN, HELD_OUT)))
    assert again.value == first.value
    assert again.nearer_share == first.nearer_share
    assert again.z == pytest.approx(first.z, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_ranks_equal_scipy(first, second):
    """Few different values, so that ties are everywhere."""
    samples, held_out = np.array(first, dtype=float), np.array(second, dtype=float)
    found = compared(samples, held_out)
    exact = np.mean((samples[:, None] < held_out) + 0.5 * (samples[:, None] == held_out))
    assert found.value == pytest.approx(exact, abs=1e-12)
    if len(set(first + second)) == 1:
        assert found.z == 0.0
        return
    p_value = mannwhitneyu(samples, held_out, alternative="less", method="asymptotic", use_continuity=False).pvalue
    assert norm.cdf(found.z) == pytest.approx(p_value, rel=1e-9)


def test_z_is_standard_normal_under_equality():
    rng = np.random.default_rng(6)
    scores = [compared(rng.exponential(size=40), rng.exponential(size=60)).z for _ in range(500)]
    assert np.mean(scores) == pytest.approx(0.0, abs=0.15)
    assert np.std(scores) == pytest.approx(1.0, abs=0.1)


def test_share_that_is_nearer():
    held_out = np.arange(1.0, 102.0)  # the 5 % quantile is 6
    samples = np.array([0.0, 1.0, 5.0, 6.0, 7.0])
    assert nearer_share(samples, held_out, 0.0) == 0.2
    assert nearer_share(samples, held_out, 0.05) == 0.6


def test_refused():
    with pytest.raises(ValueError, match="agree in dim"):
        memorization(TRAIN[:, :4], TRAIN, HELD_OUT)
    with pytest.raises(ValueError, match="agree in dim"):
        memorization(TRAIN, TRAIN, HELD_OUT[:, :4])
    with pytest.raises(ValueError, match="distances of held-out images must be finite"):
        compared(np.ones(3), np.array([np.nan]))
    with pytest.raises(ValueError, match=r"distances of samples .* got \(0,\)"):
        compared(np.ones(0), np.ones(3))
