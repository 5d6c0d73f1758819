"""The denoiser contract: consistency, clipping, guidance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm.diffusion.denoiser import clip, denoiser, guided
from ddpm.diffusion.objective import Objective, denoising_loss
from ddpm.diffusion.process import TARGETS, make_target, posterior, q_sample
from ddpm.diffusion.samplers.ddpm import std
from ddpm.diffusion.schedule import SCHEDULES, at

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
T_BATCH = torch.tensor([1, 250, 999])


def test_clipped_beliefs_stay_in_range_and_agree_with_x_t():
    x_t = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    belief = denoiser(SCHEDULE, "eps", lambda x, t: torch.zeros_like(x) + 3.0, clip)(x_t, T_BATCH)
    assert belief.x0_hat.abs().max() <= 1
    a, b = at(SCHEDULE, T_BATCH, x_t)
    torch.testing.assert_close(a * belief.x0_hat + b * belief.eps_hat, x_t)


def test_the_right_output_has_no_loss_and_gives_the_truth_back():
    x0 = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    eps = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    for target in TARGETS:
        answer = make_target(SCHEDULE, target, x0, eps, T_BATCH)
        assert denoising_loss(SCHEDULE, Objective(target), lambda x, t, a=answer: a, x0, T_BATCH, eps).max() == 0
        x_t = q_sample(SCHEDULE, x0, T_BATCH, eps)
        belief = denoiser(SCHEDULE, target, lambda x, t, a=answer: a, None)(x_t, T_BATCH)
        torch.testing.assert_close(belief.x0_hat, x0, rtol=1e-4, atol=1e-4)


def test_the_loss_of_predicting_nothing_is_the_mean_square_of_the_noise():
    x0, eps = torch.zeros(3, 1, 4, 4), torch.full((3, 1, 4, 4), 2.0)
    loss = denoising_loss(SCHEDULE, Objective("eps"), lambda x, t: torch.zeros_like(x), x0, T_BATCH, eps)
    assert torch.equal(loss, torch.full((3,), 4.0))


def test_guidance_interpolates_between_unconditional_and_conditional():
    x_t, labels = torch.ones(2, 1, 2, 2), torch.tensor([3, 7])

    def predict(x, t, y):
        return x * y.reshape(-1, 1, 1, 1)

    t = torch.tensor([5, 5])
    outputs = {w: guided(predict, labels, 10, w)(x_t, t)[:, 0, 0, 0] for w in (0.0, 1.0, 3.0)}
    assert outputs[0.0].tolist() == [10, 10]
    assert outputs[1.0].tolist() == [3, 7]
    assert outputs[3.0].tolist() == [10 + 3 * (3 - 10), 10 + 3 * (7 - 10)]


def conditioned(inputs, **options):
    """A denoiser over a self-conditioned net that says what it is shown, and notes its inputs."""

    def predict(x, t):
        inputs.append(x)
        return x[:, :1] * 0.5 + x[:, 1:]

    return denoiser(SCHEDULE, "x0", predict, None, self_condition=True, **options)


def test_a_self_conditioned_denoiser_remembers_its_last_belief_in_range():
    inputs = []
    denoise, x_t = conditioned(inputs), torch.full((3, 1, 2, 2), 0.8)
    first = denoise(x_t, T_BATCH)
    second = denoise(x_t, T_BATCH)
    third = denoise(x_t, T_BATCH)
    assert [float(seen[0, 1, 0, 0]) for seen in inputs] == pytest.approx([0.0, 0.4, 0.8])
    assert third.x0_hat[0, 0, 0, 0] > 1
    denoise(x_t, T_BATCH)
    assert float(inputs[3][0, 1, 0, 0]) == 1.0
    assert not torch.equal(first.x0_hat, second.x0_hat)
    fresh = conditioned([])(x_t, T_BATCH)
    assert torch.equal(fresh.x0_hat, first.x0_hat)  # memory belongs to a denoiser, which belongs to a batch


def test_a_denoiser_without_memory_is_a_function_of_x_t_and_t():
    denoise, x_t = conditioned([], remember=False), torch.full((3, 1, 2, 2), 0.8)
    assert torch.equal(denoise(x_t, T_BATCH).x0_hat, denoise(x_t, T_BATCH).x0_hat)


def test_both_passes_of_guidance_see_the_same_belief():
    seen = []

    def predict(x, t, y):
        seen.append(x)
        return x[:, :1] * y.reshape(-1, 1, 1, 1) + x[:, 1:]

    unlabeled = guided(predict, torch.tensor([3, 7]), 0, 2.0)
    denoise = denoiser(SCHEDULE, "x0", unlabeled, clip, self_condition=True)
    x_t, t = torch.full((2, 1, 2, 2), 0.1), torch.tensor([5, 5])
    first = denoise(x_t, t).x0_hat
    denoise(x_t, t)
    assert torch.equal(seen[1], torch.cat([torch.cat([x_t, first], dim=1)] * 2))


@given(st.floats(-50, 50), st.integers(2, 999))
def test_a_learned_variance_stays_between_its_bounds(said, t):
    learned = denoiser(SCHEDULE, "eps", lambda x, _: torch.full((1, 2, 1, 1), said), None, learned_variance=True)
    belief = learned(torch.zeros(1, 1, 1, 1), torch.tensor([t]))
    q = posterior(*SCHEDULE.path([t, t - 1]))
    lowest, chosen, highest = (
        float(std(q, belief, variance)) for variance in ("fixed_small", "learned", "fixed_large")
    )
    assert lowest * (1 - 1e-6) <= chosen <= highest * (1 + 1e-6)


def test_the_second_half_of_a_learned_variance_is_its_place_between_the_bounds():
    x_t = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    place = torch.linspace(-1, 1, 12).reshape(3, 1, 2, 2)
    learned = denoiser(SCHEDULE, "eps", lambda x, t: torch.cat([0.3 * x, place], dim=1), clip, learned_variance=True)
    fixed = denoiser(SCHEDULE, "eps", lambda x, t: 0.3 * x, clip)
    found, expected = learned(x_t, T_BATCH), fixed(x_t, T_BATCH)
    assert torch.equal(found.x0_hat, expected.x0_hat)
    assert torch.equal(found.eps_hat, expected.eps_hat)
    assert expected.var_fraction is None
    torch.testing.assert_close(found.var_fraction, torch.linspace(0, 1, 12).reshape(3, 1, 2, 2))
