"""The denoiser contract: consistency, clipping, guidance."""

import torch

from ddpm.diffusion.denoiser import clip, denoiser, guided
from ddpm.diffusion.objective import Objective, denoising_loss
from ddpm.diffusion.process import TARGETS, make_target, q_sample
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
