"""The probability flow against its closed form: Gaussian data flow by an affine map."""

import pytest
import torch

from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, Settings
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.diffusion.sde import sub_vp, ve, vp, vp_linear

MEAN, STD = 0.4, 0.3
PROCESSES = {
    "chain": SCHEDULES["linear"](1000, 1e-4, 0.02),
    "cosine chain": SCHEDULES["cosine"](100, 0.1, 0.2),
    "vp": vp_linear(1000, 1e-4, 0.02),
    "vp sigmoid": vp(SCHEDULES["sigmoid"](50, 0.1, 0.2)),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "sub-vp cosine": sub_vp(vp(SCHEDULES["cosine"](100, 0.1, 0.2))),
    "ve": ve(1000, 0.01, 50.0),
}


def law(schedule, t):
    """Mean and standard deviation of x_t."""
    (scales,) = schedule.path([t])
    return scales.signal * MEAN, (scales.signal**2 * STD**2 + scales.noise**2) ** 0.5


def start(schedule, count=3, dtype=torch.float64):
    shape = (count, 1, 4, 4)
    return schedule.prior_scale * torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def run(gaussian, schedule, x_T, tolerance, steps):
    return list(SAMPLERS["ode"](gaussian.denoiser(schedule), schedule, x_T, steps, None, Settings(tolerance=tolerance)))


# What errors of single steps add up to. Interpolated tables bend at every whole step, and an error estimate that
# counts on five derivatives sees too little of that.
LARGEST_ERROR = {
    name: {1e-4: 3e-3, 1e-7: 1e-4} if process.closed_form is None or "cosine" in name else {1e-4: 1e-3, 1e-7: 5e-7}
    for name, process in PROCESSES.items()
}


@pytest.mark.parametrize("name", sorted(PROCESSES))
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
def test_the_flow_of_gaussian_data_is_followed_within_the_tolerance(name, tolerance, gaussian):
    schedule = PROCESSES[name]
    x_T = start(schedule)
    mean_T, std_T = law(schedule, schedule.T)
    states = run(gaussian, schedule, x_T, tolerance, [schedule.T, schedule.T // 2, 1.5, 1, 0])
    assert [state.s for state in states] == [schedule.T // 2, 1.5, 1, 0]
    for state in states[:-1]:
        mean, std = law(schedule, state.s)
        error = (state.x_s - mean - std * (x_T - mean_T) / std_T).abs().max()
        assert float(error) < LARGEST_ERROR[name][tolerance]
        belief = gaussian.denoiser(schedule)(state.x_s, torch.full((3,), state.s).double()).x0_hat
        torch.testing.assert_close(state.x0_hat, belief, rtol=1e-6, atol=1e-8)
    last = gaussian.denoiser(schedule)(states[-2].x_s, torch.ones(3).double()).x0_hat
    torch.testing.assert_close(states[-1].x_s, last)


@pytest.mark.parametrize("name", ["chain", "sub-vp cosine", "ve"])
def test_float32_follows_the_flow_as_well(name, gaussian):
    schedule = PROCESSES[name]
    x_T = start(schedule, dtype=torch.float32)
    mean_T, std_T = law(schedule, schedule.T)
    mean, std = law(schedule, 1)
    *_, before, last = run(gaussian, schedule, x_T, 1e-6, [schedule.T, 1, 0])
    torch.testing.assert_close(before.x_s, mean + std * (x_T - mean_T) / std_T, rtol=1e-3, atol=1e-3)
    assert last.x_s.dtype == torch.float32


def test_the_last_state_is_the_belief_at_t_1_wherever_the_steps_stop(gaussian):
    schedule = PROCESSES["chain"]
    x_T = start(schedule)
    finals = [
        run(gaussian, schedule, x_T, 1e-6, SPACINGS[spacing](schedule, 7))[-1] for spacing in ("trailing", "karras")
    ]
    torch.testing.assert_close(finals[0].x_s, finals[1].x_s, rtol=1e-4, atol=1e-4)
    assert [state.s for state in run(gaussian, schedule, x_T, 1e-3, SPACINGS["trailing"](schedule, 7))][-1] == 0


def test_image_i_does_not_depend_on_its_batch(gaussian):
    schedule = PROCESSES["chain"]
    x_T = start(schedule, count=4, dtype=torch.float32) * torch.tensor([0.1, 1, 3, 20]).reshape(-1, 1, 1, 1)
    together = run(gaussian, schedule, x_T, 1e-4, [1000, 300, 0])
    for i in range(4):
        alone = run(gaussian, schedule, x_T[i : i + 1], 1e-4, [1000, 300, 0])
        for one, many in zip(alone, together, strict=True):
            assert torch.equal(one.x_s[0], many.x_s[i])


def test_it_runs_where_samples_are_drawn_without_gradients(gaussian):
    schedule = PROCESSES["sub-vp cosine"]
    with torch.inference_mode():
        inside = run(gaussian, schedule, start(schedule), 1e-4, [100, 1, 0])[-1].x_s
    torch.testing.assert_close(inside.clone(), run(gaussian, schedule, start(schedule), 1e-4, [100, 1, 0])[-1].x_s)
