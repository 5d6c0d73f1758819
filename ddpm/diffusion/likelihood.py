"""How likely a model finds images: the variational bound of a chain, and the exact value of the probability flow."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm.diffusion import rk45
from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.samplers.ode import FIRST, flow_weights
from ddpm.diffusion.samplers.steps import Noise, full
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.variational import prior_bound, step_bound
from ddpm.types import Images

LEVEL = 2 / 255
"""Distance of two neighbors among the 256 levels of [-1, 1]."""


class Bound(NamedTuple):
    """The terms of the variational bound, bits/dim of each image, (batch,) float64 (Ho et al. 2020, eq. 5).

    Attributes:
        prior: L_T, what x_T still knows about x0; nothing is learned here.
        steps: the sum of L_{t-1} over t = 2..T.
        decoder: L_0, from x_1 to 8-bit pixels.
    """

    prior: Tensor
    steps: Tensor
    decoder: Tensor

    @property
    def total(self) -> Tensor:
        """What is above -log2 p(x0) per dimension."""
        return self.prior + self.steps + self.decoder


def variational_bound(
    denoise: Denoiser, schedule: Schedule, x0: Images, variance: str, noise: Noise, tick: Callable[[int], object]
) -> Bound:
    """The bound on -log2 p(x0) of a chain, one draw of x_t for every t = 1..T (Ho et al. 2020, eq. 5).

    T network evaluations. x0_hat counts as `denoise` gives it, clipped or not: both are models, and each has a bound.

    Args:
        denoise: of a net that was trained on whole steps.
        schedule: tables on the device of x0.
        x0: (batch, channels, height, width), on the 256 levels of [-1, 1].
        variance: of the reverse steps: fixed_large, fixed_small or learned.
        noise: noise(t), the unit normal noise of x_t.
        tick: called with 1 after each evaluation.

    Raises:
        ValueError: a learned variance is asked of a net that has none.
    """
    steps = decoder = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    for step in range(1, schedule.T + 1):
        t = full(x0, step)
        x_t = q_sample(schedule, x0, t, noise(step))
        term = step_bound(schedule, x0, x_t, t, denoise(x_t, t), variance)
        steps, decoder = (steps, decoder + term) if step == 1 else (steps + term, decoder)
        tick(1)
    return Bound(prior_bound(schedule, x0), steps, decoder)


class Density(NamedTuple):
    """What the probability flow says of each image.

    Attributes:
        log_prob: (batch,), natural log of the density at x, float64.
        latent: where the flow carries x, at t = T.
        evaluations: (batch,), network evaluations, each with one gradient per probe.
    """

    log_prob: Tensor
    latent: Images
    evaluations: Tensor


def flow_density(
    denoise: Denoiser, schedule: Schedule, x: Images, probes: Tensor, tolerance: float, tick: Callable[[int], object]
) -> Density:
    """The exact density of the probability flow at x (Song et al. 2021, Score-SDE, eq. 39).

    log p(x) = log N(x_T; 0, prior_scale^2) + integral of div(dx/dt) from t = 1 to T

    prior_scale is 1 where the variance is preserved and sigma_max for VE. x is taken for x_1: the net knows no earlier
    time, so this is the model's density of data with the noise of step 1 on them. div is estimated with the probes v by
    v . d(dx/dt)/dx v (Hutchinson 1990; Skilling 1989), which is unbiased if v has mean 0 and unit covariance; its part
    from the drift is exact. x and log p move together through `rk45` in float64, and the error of a step is judged over
    both; the net runs in the precision of x.

    Args:
        denoise: must not clip, else there is no smooth flow; its net need not ask for gradients.
        schedule: tables on the device of x.
        x: (batch, channels, height, width), dequantized.
        probes: (probes, batch, channels, height, width), random signs or unit normal noise, kept all the way.
        tolerance: relative and absolute error of one step.
        tick: called with 1 after each evaluation.

    Raises:
        ValueError: the flow does not stay finite.
    """
    shape, dims = x.shape, x[0].numel()

    def field(t: Tensor, y: Tensor) -> Tensor:
        drift, eps_weight = (weight.reshape(-1, 1) for weight in flow_weights(schedule, t))
        eps_hat, trace = eps_and_trace(denoise, y[:, :dims].reshape(shape).to(x.dtype), t, probes)
        tick(1)
        velocity = drift * y[:, :dims] + eps_weight * eps_hat.flatten(1).double()
        return torch.cat([velocity, drift * dims + eps_weight * trace.reshape(-1, 1)], dim=1)

    y = torch.cat([x.double().flatten(1), x.new_zeros(len(x), 1, dtype=torch.float64)], dim=1)
    end = rk45.integrate(field, rk45.start(field, FIRST, y, schedule.T, tolerance), schedule.T, tolerance)
    x_T, gained = end.y[:, :dims], end.y[:, dims]
    var = schedule.prior_scale**2
    prior = -(x_T.square() / var + math.log(2 * math.pi * var)).sum(dim=1) / 2
    return Density(prior + gained, x_T.reshape(shape).to(x.dtype), end.evaluations)


def eps_and_trace(denoise: Denoiser, x: Images, t: Tensor, probes: Tensor) -> tuple[Images, Tensor]:
    """eps_hat and the mean over the probes of v . (d eps_hat / dx) v, (batch,) float64."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        eps_hat = denoise(x, t).eps_hat
        trace = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        for number, probe in enumerate(probes, start=1):
            (pulled,) = torch.autograd.grad(eps_hat, x, probe, retain_graph=number < len(probes))
            trace += (pulled.double() * probe.double()).flatten(1).sum(dim=1)
    return eps_hat.detach(), trace / len(probes)


def dequantized(x0: Images, draws: Tensor) -> Images:
    """Spread 8-bit images evenly over their levels: x0 + (u - 1/2) 2/255 (Theis et al. 2016, sec. 3.1).

    Args:
        x0: on the 256 levels of [-1, 1].
        draws: u, uniform in (0, 1), shaped like x0.
    """
    return x0 + ((draws - 0.5) * LEVEL).to(x0.dtype)


def bits_per_dim(log_prob: Tensor, dims: int) -> Tensor:
    """-log2 of the probability of an 8-bit image per dimension, from the density of its dequantized version.

    -log_prob / (dims ln 2) + log2(255 / 2), since a level is 2/255 wide; its mean over draws is above -log2 P(image)
    """
    return -log_prob / (dims * math.log(2)) - math.log2(LEVEL)
