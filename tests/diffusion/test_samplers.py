"""Samplers against a closed form: data N(mean, std^2) per pixel has an exact denoiser."""

from itertools import pairwise

import pytest
import torch

from ddpm.diffusion.process import Prediction
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import uniform_steps
from ddpm.diffusion.schedule import SCHEDULES, at

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
MEAN, STD = 0.4, 0.3


def exact(x_t, t):
    """E[x0 | x_t] of Gaussian data, and the eps that agrees with it."""
    a, b = at(SCHEDULE.signal_scale, t), at(SCHEDULE.noise_scale, t)
    x0_hat = MEAN + a * STD**2 / (a**2 * STD**2 + b**2) * (x_t - a * MEAN)
    return Prediction(x0_hat, (x_t - a * x0_hat) / b)


def run(sampler, num_steps, count=40_000, **options):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 1, 1, 1)
    x_T = torch.randn(shape, generator=generator, dtype=torch.float64)
    options = {"variance": "fixed_small", "eta": 0.0, **options}
    noise = lambda t: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    *_, last = SAMPLERS[sampler](exact, SCHEDULE, x_T, uniform_steps(1000, num_steps), noise, **options)
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
    steps = uniform_steps(1000, 7)
    states = list(SAMPLERS["ddim"](exact, SCHEDULE, torch.ones(1, 1, 1, 1), steps, None, variance="", eta=0.0))
    assert [state.s for state in states] == steps[1:]


@pytest.mark.parametrize(("T", "num_steps"), [(1000, 1000), (1000, 50), (1000, 7), (10, 1)])
def test_uniform_steps_fall_from_T_to_0(T, num_steps):
    steps = uniform_steps(T, num_steps)
    assert (steps[0], steps[-1], len(steps)) == (T, 0, num_steps + 1)
    assert all(t > s for t, s in pairwise(steps))


@pytest.mark.parametrize("num_steps", [0, 11])
def test_more_steps_than_there_are_is_refused(num_steps):
    with pytest.raises(ValueError, match=r"sample.steps must be in 1..10"):
        uniform_steps(10, num_steps)
