"""DDIM inversion against the closed form of Gaussian data, and back again."""

from itertools import pairwise

import pytest
import torch

from ddpm.diffusion.samplers.ddim import ddim
from ddpm.diffusion.samplers.inversion import invert, rising
from ddpm.diffusion.samplers.steps import Settings
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.diffusion.sde import sub_vp, ve, vp_linear

MEAN, STD = 0.4, 0.3
PROCESSES = {
    "chain": SCHEDULES["linear"](1000, 1e-4, 0.02),
    "vp": vp_linear(1000, 1e-4, 0.02),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "ve": ve(1000, 0.01, 50.0),
}
X0 = MEAN + STD * torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()


def encode(gaussian, schedule, num_steps):
    *_, last = invert(gaussian.denoiser(schedule), schedule, X0, rising(schedule, num_steps))
    return last


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_latents_converge_to_the_exact_flow_with_order_one(name, gaussian):
    schedule = PROCESSES[name]
    first, last = schedule.path([1, schedule.T])
    std_1, std_T = ((s.signal**2 * STD**2 + s.noise**2) ** 0.5 for s in (first, last))
    exact = last.signal * MEAN + std_T * (X0 - first.signal * MEAN) / std_1
    errors = [float((encode(gaussian, schedule, num_steps).x_s - exact).abs().max()) for num_steps in (125, 250, 500)]
    for coarse, fine in pairwise(errors):
        assert 1.6 < coarse / fine < 2.6


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_the_way_there_and_back_errs_by_order_one(name, gaussian):
    schedule = PROCESSES[name]
    errors = []
    for num_steps in (125, 250, 500):
        steps = rising(schedule, num_steps)[::-1]
        *_, last = ddim(
            gaussian.denoiser(schedule), schedule, encode(gaussian, schedule, num_steps).x_s, steps, None, Settings()
        )
        assert last.s == 1
        errors.append(float((last.x_s - X0).abs().max()))
    for coarse, fine in pairwise(errors):
        assert 1.6 < coarse / fine < 2.6


def test_a_state_says_where_it_is_and_what_was_believed_before(gaussian):
    schedule = PROCESSES["chain"]
    states = list(invert(gaussian.denoiser(schedule), schedule, X0, [1, 250, 1000]))
    assert [state.s for state in states] == [250, 1000]
    torch.testing.assert_close(
        states[0].x0_hat, gaussian.denoiser(schedule)(X0, torch.ones(4, dtype=torch.int64)).x0_hat
    )


@pytest.mark.parametrize(("T", "num_steps"), [(1000, 50), (1000, 1000), (1000, 1), (10, 3)])
def test_steps_rise_from_1_to_T(T, num_steps):
    steps = rising(SCHEDULES["linear"](T, 1e-4, 0.02), num_steps)
    assert (steps[0], steps[-1]) == (1, T)
    assert len(steps) == min(num_steps + 1, T)
    assert all(s < t and isinstance(t, int) for s, t in pairwise(steps))


def test_a_start_at_0_is_refused(gaussian):
    with pytest.raises(ValueError, match=r"invert: steps must begin above 0, .* got 0; use 1"):
        next(invert(gaussian.denoiser(PROCESSES["chain"]), PROCESSES["chain"], X0, [0, 10]))
