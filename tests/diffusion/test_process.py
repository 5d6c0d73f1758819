"""The forward process: composition, posterior, round trips."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm.diffusion.process import TARGETS, make_target, posterior, q_sample, read_prediction
from ddpm.diffusion.schedule import SCHEDULES

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)


def images(seed: int, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_t_0_returns_x0_exactly():
    x0 = images(0)
    assert torch.equal(q_sample(SCHEDULE, x0, torch.zeros(4, dtype=torch.long), images(1)), x0)


@given(st.integers(1, 1000))
def test_noising_has_mean_and_variance_of_equation_4(t):
    x0, eps = torch.zeros(4, 3, 8, 8), images(1)
    x_t = q_sample(SCHEDULE, x0 + 0.5, torch.full((4,), t), eps)
    torch.testing.assert_close(x_t - SCHEDULE.signal_scale[t].float() * 0.5, SCHEDULE.noise_scale[t].float() * eps)


@given(st.integers(2, 1000), st.data())
def test_q_t_given_s_after_q_s_is_q_t(t, data):
    s = data.draw(st.integers(1, t - 1))
    ab_t, ab_s = float(SCHEDULE.alpha_bar[t]), float(SCHEDULE.alpha_bar[s])
    alpha = ab_t / ab_s  # q(x_t | x_s) = N(sqrt(alpha) x_s, 1 - alpha)
    assert alpha * (1 - ab_s) + (1 - alpha) == pytest.approx(1 - ab_t)


@given(st.integers(2, 1000), st.data())
def test_posterior_is_bayes_rule(t, data):
    """Two Gaussian factors in x_s: precision adds, and so does precision times mean."""
    s = data.draw(st.integers(1, t - 1))
    ab_t, ab_s = float(SCHEDULE.alpha_bar[t]), float(SCHEDULE.alpha_bar[s])
    alpha, x0, x_t = ab_t / ab_s, 0.3, -0.8
    precision = 1 / (1 - ab_s) + alpha / (1 - alpha)
    mean = (ab_s**0.5 * x0 / (1 - ab_s) + alpha**0.5 * x_t / (1 - alpha)) / precision
    found = posterior(*SCHEDULE.path([t, s]))
    assert found.var == pytest.approx(1 / precision)
    assert found.x0_weight * x0 + found.x_t_weight * x_t == pytest.approx(mean)


def test_posterior_at_s_0_is_x0():
    found = posterior(*SCHEDULE.path([1, 0]))
    assert found.x0_weight == pytest.approx(1)
    assert found.x_t_weight == 0
    assert found.var == 0


@given(st.sampled_from(sorted(TARGETS)), st.integers(1, 1000))
def test_targets_round_trip(target, t):
    x0, eps, steps = images(0).double(), images(1).double(), torch.full((4,), t)
    x_t = q_sample(SCHEDULE, x0, steps, eps)
    belief = read_prediction(SCHEDULE, target, x_t, make_target(SCHEDULE, target, x0, eps, steps), steps)
    tolerance = 1e-4 if target == "eps" else 1e-5  # reading x0 from eps divides by signal_scale, down to 0.006
    torch.testing.assert_close(belief.x0_hat, x0, rtol=tolerance, atol=1e-4)
    torch.testing.assert_close(belief.eps_hat, eps, rtol=1e-4, atol=1e-4)


def test_v_is_the_derivative_along_the_angle():
    """v = d x / d phi for x = cos(phi) x0 + sin(phi) eps (Salimans & Ho 2022, appendix D)."""
    x0, eps, t = images(0), images(1), torch.full((4,), 500)
    a, b = float(SCHEDULE.signal_scale[500]), float(SCHEDULE.noise_scale[500])
    phi, h = torch.atan2(torch.tensor(b), torch.tensor(a)).double(), 1e-5
    moved = [torch.cos(phi + d) * x0.double() + torch.sin(phi + d) * eps.double() for d in (-h, h)]
    torch.testing.assert_close(
        make_target(SCHEDULE, "v", x0, eps, t).double(), (moved[1] - moved[0]) / (2 * h), rtol=1e-5, atol=1e-5
    )
