"""Filling in: what is known comes back, and what is filled is distributed as it should be, for Gaussian data."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ddpm import randomness
from ddpm.diffusion.process import Prediction, posterior
from ddpm.diffusion.samplers.inpainting import inpaint
from ddpm.diffusion.samplers.steps import trailing
from ddpm.diffusion.schedule import at, linear

MEAN = torch.tensor([0.2, -0.3], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.25, 0.2], [0.2, 0.36]], dtype=torch.float64)
SEEN = 0.9
"""The first of two pixels; the second one is filled in."""


def exact(schedule):
    """E[x0 | x_t] of two correlated normal pixels."""

    def denoise(x_t, t):
        a, b = (float(scale.flatten()[0]) for scale in at(schedule, t, x_t))
        gain = a * COVARIANCE @ torch.linalg.inv(a**2 * COVARIANCE + b**2 * torch.eye(2, dtype=torch.float64))
        x0_hat = (MEAN + (x_t.flatten(1) - a * MEAN) @ gain.T).reshape(x_t.shape)
        return Prediction(x0_hat, (x_t - a * x0_hat) / b)

    return denoise


def filled(schedule, num_steps, passes, count=20_000):
    """Draws of the second pixel where the first is SEEN."""
    index = torch.arange(count)

    def noise(k):
        return randomness.normal(0, "reverse noise", k, index, (1, 1, 2)).double()

    x_T = randomness.normal(0, "x_T", 0, index, (1, 1, 2)).double()
    x0 = torch.tensor([SEEN, 0.0], dtype=torch.float64).expand(count, 1, 1, 2)
    known = torch.tensor([True, False])
    states = list(inpaint(exact(schedule), schedule, x_T, trailing(schedule, num_steps), noise, x0, known, passes))
    assert [state.s for state in states] == trailing(schedule, num_steps)[1:]
    for state, scales in zip(states, schedule.path([state.s for state in states]), strict=True):
        truth = state.x_s[..., 0]
        assert float(truth.mean()) == pytest.approx(scales.signal * SEEN, abs=0.03)
        assert float(truth.std()) == pytest.approx(scales.noise, rel=0.03)
    assert (truth == SEEN).all(), "what is known comes back exactly"
    return states[-1].x_s[..., 1].flatten()


def moments(schedule, num_steps, passes):
    """Mean and variance of the second pixel: everything is affine in normal variables, so no draw is needed."""
    eye, seen = np.eye(2), np.diag([0.0, 1.0])
    mean, covariance = np.zeros(2), eye
    data_mean, data_covariance = MEAN.numpy(), COVARIANCE.numpy()
    for t, s in pairwise(schedule.path(trailing(schedule, num_steps))):
        gain = t.signal * data_covariance @ np.linalg.inv(t.signal**2 * data_covariance + t.noise**2 * eye)
        q = posterior(t, s)
        step, constant = (
            q.x0_weight * gain + q.x_t_weight * eye,
            q.x0_weight * (data_mean - t.signal * gain @ data_mean),
        )
        for again in reversed(range(passes if s.noise > 0 else 1)):
            mean = seen @ (step @ mean + constant) + [s.signal * SEEN, 0]
            covariance = seen @ (step @ covariance @ step.T + q.var * eye) @ seen + np.diag([s.noise**2, 0.0])
            if again:
                ratio = t.signal / s.signal
                mean, covariance = ratio * mean, ratio**2 * covariance + q.step_var * eye
    return mean[1], covariance[1, 1]


@pytest.mark.parametrize("passes", [1, 3])
def test_filled_pixels_have_the_moments_that_affine_steps_give(passes):
    schedule = linear(100, 1e-3, 0.2)
    found, (mean, variance) = filled(schedule, 20, passes), moments(schedule, 20, passes)
    assert float(found.mean()) == pytest.approx(mean, abs=4 * (variance / len(found)) ** 0.5)
    assert float(found.var()) == pytest.approx(variance, rel=0.04)


def test_many_passes_tend_to_the_conditional_distribution_and_one_does_not():
    schedule = linear(1000, 1e-4, 0.02)
    mean = float(MEAN[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (SEEN - MEAN[0]))
    variance = float(COVARIANCE[1, 1] - COVARIANCE[0, 1] ** 2 / COVARIANCE[0, 0])
    found = [moments(schedule, 1000, passes) for passes in (1, 4, 32)]
    away = [(abs(m - mean), abs(v / variance - 1)) for m, v in found]
    assert away[0][0] > 2 * away[1][0] > 4 * away[2][0]
    assert away[2][0] < 0.02
    assert away[2][1] < 0.1, "the variance of a step is a little too small (fixed_small)"
