"""How fast samplers converge: their error falls by 2^order when the steps are halved.

Steps are even in log SNR between two fixed times, and the error is taken at the second one, so that neither the prior
nor the final step to t = 0 is part of it.
"""

from itertools import pairwise

import pytest
import torch

from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import Settings

FIRST, LAST = 999.0, 5.0
COUNTS = (40, 80, 160)
processes_of_each_kind = pytest.mark.parametrize("process", ["linear", "cosine", "vp", "sub-vp", "ve"])


def even_steps(schedule, num_steps):
    first, last = schedule.log_snr_at(torch.tensor([FIRST, LAST], dtype=torch.float64)).tolist()
    times = schedule.time_at(torch.linspace(first, last, num_steps + 1, dtype=torch.float64))
    return [*times.tolist(), 0]


def at_last(sampler, schedule, x, steps, settings, gaussian, noise=None):
    """The images at the last time above 0."""
    return list(SAMPLERS[sampler](gaussian.denoiser(schedule), schedule, x, steps, noise, settings))[-2].x_s


@processes_of_each_kind
@pytest.mark.parametrize(
    ("sampler", "order"),
    # UniPC with a predictor of order p has order p + 1 (Zhao et al. 2023)
    [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp-2m", 2), ("dpmpp-2m-sde", 2), ("unipc", 3)],
)
def test_deterministic_samplers_converge_to_the_flow_with_their_order(sampler, order, process, processes, gaussian):
    schedule, errors = processes[process], []
    x = schedule.prior_scale * torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(-1, 1, 1, 1)
    for num_steps in COUNTS:
        steps = even_steps(schedule, num_steps)
        found = at_last(sampler, schedule, x, steps, Settings(eta=0.0), gaussian)
        scales = schedule.path(steps)
        errors.append(float((found - gaussian.flow(x, scales[0], scales[-2])).abs().max()))
    for coarse, fine in pairwise(errors):
        assert 0.95 * 2**order < coarse / fine < 1.07 * 2**order


def moments(sampler, schedule, steps, settings, gaussian):
    """Mean and standard deviation of a sampler's output, without a single random number.

    With this denoiser each sampler is affine: x_s = A x + c + sum B_k z_k. Image 0 has no x and no noise and shows c,
    image 1 has x = 1, image 2 + k has z_k = 1.
    """
    shape = (len(steps) + 2, 1, 1, 1)

    def unit(row):
        one = torch.zeros(shape, dtype=torch.float64)
        one[row] = 1
        return one

    c, A, *B = at_last(sampler, schedule, unit(1), steps, settings, gaussian, lambda k: unit(2 + k)).flatten()
    mean, std = gaussian.marginal(schedule.path(steps)[0])
    var = ((A - c) * std) ** 2 + sum((B_k - c) ** 2 for B_k in B)
    return float((A - c) * mean + c), float(var**0.5)


@processes_of_each_kind
@pytest.mark.parametrize(
    ("sampler", "settings", "order"),
    [
        ("ddpm", Settings(), 1),
        ("ddim", Settings(eta=1.0), 1),
        ("ddim", Settings(eta=0.5), 1),
        ("euler", Settings(churn=10.0), 1),
        ("euler-maruyama", Settings(), 1),
        ("predictor-corrector", Settings(corrector_steps=0), 1),
        ("dpmpp-2m-sde", Settings(eta=1.0), 2),
        ("dpmpp-2m-sde", Settings(eta=0.5), 2),
        ("heun", Settings(churn=10.0), 2),
    ],
)
def test_stochastic_samplers_converge_in_distribution(sampler, settings, order, process, processes, gaussian):
    schedule, errors = processes[process], []
    for num_steps in COUNTS:
        steps = even_steps(schedule, num_steps)
        mean, std = moments(sampler, schedule, steps, settings, gaussian)
        true_mean, true_std = gaussian.marginal(schedule.path(steps)[-2])
        errors.append(abs(mean - true_mean) + abs(std - true_std))
    for coarse, fine in pairwise(errors):
        assert coarse / fine > 0.92 * 2**order
    assert errors[-1] < 0.012


def test_churn_draws_the_distribution_that_it_disturbs(processes, gaussian):
    """Churn adds noise and sigma together: with exact steps between, the distribution stays as it was."""
    schedule = processes["linear"]
    settings = Settings(churn=100.0, churn_interval=(0.05, 20.0), churn_noise=1.0)
    mean, std = moments("heun", schedule, even_steps(schedule, 640), settings, gaussian)
    true_mean, true_std = gaussian.marginal(schedule.path([LAST])[0])
    assert mean == pytest.approx(true_mean, abs=1e-9)
    assert std == pytest.approx(true_std, rel=1e-3)
    _, wider = moments("heun", schedule, even_steps(schedule, 640), Settings(churn=100.0, churn_noise=1.1), gaussian)
    assert wider > 1.01 * true_std
