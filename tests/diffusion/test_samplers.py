"""Samplers against a closed form: data N(mean, std^2) per pixel has an exact denoiser."""

from itertools import pairwise

import pytest
import torch

from ddpm.diffusion.process import Prediction
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, Settings
from ddpm.diffusion.schedule import SCHEDULES, at

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
MEAN, STD = 0.4, 0.3


def exact(x_t, t):
    """E[x0 | x_t] of Gaussian data, and the eps that agrees with it."""
    a, b = at(SCHEDULE, t, x_t)
    x0_hat = MEAN + a * STD**2 / (a**2 * STD**2 + b**2) * (x_t - a * MEAN)
    return Prediction(x0_hat, (x_t - a * x0_hat) / b)


def run(sampler, num_steps, count=40_000, **options):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 1, 1, 1)
    x_T = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = lambda k: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    *_, last = SAMPLERS[sampler](
        exact, SCHEDULE, x_T, SPACINGS["trailing"](SCHEDULE, num_steps), noise, Settings(**options)
    )
    assert last.s == 0
    return x_T, last.x_s


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
def test_ancestral_sampling_reaches_mean_and_variance(variance):
    _, x = run("ddpm", 1000, variance=variance)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize(("eta", "num_steps"), [(0.0, 250), (0.5, 250), (1.0, 1000)])  # the more noise, the more steps
def test_ddim_reaches_mean_and_variance(eta, num_steps):
    _, x = run("ddim", num_steps, eta=eta)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(x.std()) == pytest.approx(STD, rel=0.03)


def test_deterministic_ddim_converges_with_order_one():
    """The exact flow maps x_T affinely: (x_T - a_T mean) / std_T = (x_0 - mean) / std."""
    a, b = float(SCHEDULE.signal_scale[-1]), float(SCHEDULE.noise_scale[-1])
    errors = []
    for num_steps in (50, 100, 200):
        x_T, x = run("ddim", num_steps, count=100)
        truth = MEAN + STD * (x_T - a * MEAN) / (a**2 * STD**2 + b**2) ** 0.5
        errors.append(float((x - truth).abs().max()))
    for coarse, fine in pairwise(errors):
        assert 1.7 < coarse / fine < 2.4


def test_ddim_with_eta_1_is_ancestral_sampling_with_fixed_small():
    _, ancestral = run("ddpm", 20, count=100, variance="fixed_small")
    _, implicit = run("ddim", 20, count=100, eta=1.0)
    torch.testing.assert_close(ancestral, implicit)


def test_every_step_yields_its_state():
    steps = SPACINGS["trailing"](SCHEDULE, 7)
    states = list(SAMPLERS["ddim"](exact, SCHEDULE, torch.ones(1, 1, 1, 1), steps, None, Settings()))
    assert [state.s for state in states] == steps[1:]


@pytest.mark.parametrize("spacing", sorted(SPACINGS))
@pytest.mark.parametrize(("T", "num_steps"), [(1000, 1000), (1000, 50), (1000, 7), (10, 1), (10, 10)])
def test_steps_fall_from_T_at_most_to_0(spacing, T, num_steps):
    steps = SPACINGS[spacing](SCHEDULES["linear"](T, 1e-4, 0.02), num_steps)
    assert len(steps) == num_steps + 1
    assert steps[0] <= T
    assert steps[-1] == 0
    assert all(t > s for t, s in pairwise(steps))
