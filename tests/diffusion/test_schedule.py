"""Schedules: what every table must satisfy, and the values of the papers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm.diffusion.schedule import MAX_BETA, SCHEDULES, at

KINDS = sorted(SCHEDULES)


@given(st.sampled_from(KINDS), st.integers(1, 1500), st.floats(1e-5, 1e-2), st.floats(1.1, 50))
def test_tables_of_every_kind_are_sound(kind, T, beta_1, ratio):
    schedule = SCHEDULES[kind](T, beta_1, min(beta_1 * ratio, 0.5))
    assert schedule.T == T
    assert len(schedule.alpha_bar) == T + 1
    assert schedule.beta.dtype == schedule.alpha_bar.dtype == torch.float64
    assert schedule.beta[0] == 0
    assert schedule.alpha_bar[0] == 1
    assert (schedule.alpha_bar.diff() < 0).all()
    assert ((schedule.beta[1:] > 0) & (schedule.beta[1:] < MAX_BETA + 1e-9)).all()
    torch.testing.assert_close(schedule.signal_scale**2 + schedule.noise_scale**2, torch.ones(T + 1).double())
    torch.testing.assert_close(schedule.log_snr[1:], (schedule.alpha_bar / (1 - schedule.alpha_bar))[1:].log())


def test_linear_is_that_of_ho_et_al():
    schedule = SCHEDULES["linear"](1000, 1e-4, 0.02)
    assert float(schedule.beta[1]) == pytest.approx(1e-4)
    assert float(schedule.beta[1000]) == pytest.approx(0.02)
    assert float(schedule.alpha_bar[1000]) == pytest.approx(4.0358e-5, rel=1e-4)


def test_quadratic_is_linear_in_the_square_root():
    steps = SCHEDULES["quadratic"](1000, 1e-4, 0.02).beta[1:].sqrt().diff()
    torch.testing.assert_close(steps, steps[0].expand(999))


def test_cosine_follows_its_curve_until_beta_is_clipped():
    schedule = SCHEDULES["cosine"](1000, 0.1, 0.2)
    curve = torch.tensor([math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]).double()
    torch.testing.assert_close(schedule.alpha_bar[:999], (curve / curve[0])[:999], rtol=1e-6, atol=0)
    assert float(schedule.beta[1000]) == pytest.approx(MAX_BETA)


def test_sigmoid_is_half_way_in_the_middle():
    assert float(SCHEDULES["sigmoid"](1000, 0.1, 0.2).alpha_bar[500]) == pytest.approx(0.5)


def test_the_first_steps_keep_their_noise_in_float32():
    """Casting alpha_bar before the square root would give steps 1.. no noise in low precision (facts, section 5)."""
    schedule = SCHEDULES["linear"](1000, 1e-4, 0.02)
    scale = at(schedule, torch.arange(1, 11), torch.zeros(1, dtype=torch.bfloat16))[1].flatten()
    assert scale.dtype == torch.float32
    torch.testing.assert_close(scale.double(), (1 - schedule.alpha_bar[1:11]).sqrt(), rtol=1e-6, atol=0)


def test_a_step_outside_is_refused():
    with pytest.raises(IndexError):
        at(SCHEDULES["linear"](10, 1e-4, 0.02), torch.tensor([11]), torch.zeros(1))
