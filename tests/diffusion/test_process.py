"""The forward process: composition, posterior, round trips."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ddpm.diffusion.process import TARGETS, make_target, posterior, q_sample, read_prediction
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.diffusion.sde import sub_vp, ve, vp, vp_linear

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
PROCESSES = {
    "chain": SCHEDULE,
    "vp": vp_linear(1000, 1e-4, 0.02),
    "vp cosine": vp(SCHEDULES["cosine"](50, 0.1, 0.2)),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "sub-vp sigmoid": sub_vp(vp(SCHEDULES["sigmoid"](50, 0.1, 0.2))),
    "ve": ve(1000, 0.01, 50.0),
}


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


@given(st.sampled_from(sorted(PROCESSES)), st.floats(0, 1), st.floats(0, 1))
def test_posterior_of_every_process_is_that_of_the_joint_gaussian(name, one, other):
    """Given x0, (x_s, x_t) are jointly normal with covariance ratio var_s: condition x_s on x_t."""
    process = PROCESSES[name]
    s, t = sorted(1 + share * (process.T - 1) for share in (one, other))
    assume(t - s > 1e-3)
    now, before = process.path([t, s])
    ratio, x0, x_t = now.signal / before.signal, 0.3, -0.8
    found = posterior(now, before)
    assert ratio**2 * before.noise**2 + found.step_var == pytest.approx(now.noise**2)  # q(t|s) after q(s|0)
    assert found.step_var > 0
    slope = ratio * before.noise**2 / now.noise**2
    mean = before.signal * x0 + slope * (x_t - now.signal * x0)
    assert found.x0_weight * x0 + found.x_t_weight * x_t == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert found.var == pytest.approx(before.noise**2 - slope * ratio * before.noise**2, rel=1e-6, abs=1e-12)


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


@pytest.mark.parametrize("name", sorted(PROCESSES))
@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_round_trip_at_both_ends_of_every_process(name, target, dtype):
    process = PROCESSES[name]
    x0, eps = images(0).to(dtype), images(1).to(dtype)
    times = torch.tensor([1, 1, process.T, process.T])
    for steps in (times, times.double()):
        x_t = q_sample(process, x0, steps, eps)
        belief = read_prediction(process, target, x_t, make_target(process, target, x0, eps, steps), steps)
        a, b = (table.to(dtype).reshape(-1, 1, 1, 1) for table in process.scales(steps))
        # A target says one of the two; the other is found by a division that the noise or the signal makes worse.
        unit = 3 * torch.finfo(dtype).eps * 16
        assert ((belief.x0_hat - x0).abs() <= unit * (1 + b / a)).all()
        assert ((belief.eps_hat - eps).abs() <= unit * (1 + a / b)).all()
        assert ((a * belief.x0_hat + b * belief.eps_hat - x_t).abs() <= unit * (1 + b)).all()


def test_v_is_the_derivative_along_the_angle():
    """v = d x / d phi for x = cos(phi) x0 + sin(phi) eps (Salimans & Ho 2022, appendix D)."""
    x0, eps, t = images(0), images(1), torch.full((4,), 500)
    a, b = float(SCHEDULE.signal_scale[500]), float(SCHEDULE.noise_scale[500])
    phi, h = torch.atan2(torch.tensor(b), torch.tensor(a)).double(), 1e-5
    moved = [torch.cos(phi + d) * x0.double() + torch.sin(phi + d) * eps.double() for d in (-h, h)]
    torch.testing.assert_close(
        make_target(SCHEDULE, "v", x0, eps, t).double(), (moved[1] - moved[0]) / (2 * h), rtol=1e-5, atol=1e-5
    )
