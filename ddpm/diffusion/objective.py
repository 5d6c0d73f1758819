"""The training loss: weighted denoising, the variational bound, or both."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ddpm.diffusion.denoiser import beside, clip, split_variance, widen
from ddpm.diffusion.process import Prediction, make_target, q_sample, read_prediction, unit_scales
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.variational import step_bound
from ddpm.diffusion.weighting import WEIGHTINGS, Weighting
from ddpm.types import Images, Steps


@dataclass(frozen=True)
class Objective:
    """What the net is trained for.

    Attributes:
        target: a key of `ddpm.diffusion.process.TARGETS`.
        weighting: of its squared error at every noise level; None trains the variational bound itself.
        learned_variance: the net's output has twice the channels; the second half says where between its bounds log
            variance lies, -1 to 1 (Nichol & Dhariwal 2021, eq. 15).
        vlb_weight: with a weighting and a learned variance: lambda of L_simple + lambda L_vlb (their eq. 16).
        self_condition: the net also sees an earlier x0_hat (Chen et al. 2023).
    """

    target: str
    weighting: Weighting | None = Weighting()  # noqa: RUF009  (frozen)
    learned_variance: bool = False
    vlb_weight: float = 0.0
    self_condition: bool = False


def plain(objective: Objective) -> Objective:
    """The same net judged by the constant-weight error of its target, so that objectives can be compared."""
    return replace(objective, weighting=Weighting(), vlb_weight=0.0)


def denoising_loss(
    schedule: Schedule,
    objective: Objective,
    predict: Callable[[Images, Steps], Images],
    x0: Images,
    t: Steps,
    eps: Images,
    look_twice: bool = False,
) -> Tensor:
    """The loss of each image: w(t) mean over pixels of |target - prediction|^2, bounds added as the objective says.

    constant weight: L_simple (Ho et al. 2020, eq. 14); no weighting: T L_{t-1}, an estimate of L_vlb in bits/dim;
    learned variance beside a weighting: w L_simple + vlb_weight T L_{t-1}, where the bound trains the variance only
    (Nichol & Dhariwal 2021, eq. 16). A variance that is not learned enters the bound as the posterior's (fixed_small).

    Noise, mixing and loss are float32 at least whatever the precision of the net (facts of mixed precision: in bf16
    the first ten steps would get no noise at all).

    Args:
        schedule: tables on the device of x0.
        predict: the net, (x_t at unit variance, t) -> output.
        x0: (batch, channels, height, width), in [-1, 1].
        t: (batch,), 1..T; the bound needs whole steps.
        eps: unit normal noise, shaped like x0.
        look_twice: with self-conditioning: let the net see its own x0_hat, not zeros.

    Returns:
        (batch,), float32 at least.
    """
    x_t = q_sample(schedule, x0, t, eps)
    x_unit = x_t / unit_scales(schedule, t, x_t)[2]
    x_in = x_unit
    if objective.self_condition:
        x_in = beside(x_unit, first_look(schedule, objective, predict, x_t, x_unit, t) if look_twice else None)
    output = widen(predict(x_in, t))
    said, fraction = split_variance(output) if objective.learned_variance else (output, None)
    if objective.weighting is None:
        return _bound(schedule, objective, x0, x_t, t, said, fraction)
    error = (make_target(schedule, objective.target, x0, eps, t) - said).square().mean(dim=(1, 2, 3))
    weigh = WEIGHTINGS[objective.weighting.kind]
    loss = weigh(objective.target, schedule.log_snr_at(t), objective.weighting).to(error.dtype) * error
    if objective.vlb_weight:
        # A detached mean: the bound is noisy, and would drown what L_simple teaches it.
        loss = loss + objective.vlb_weight * _bound(schedule, objective, x0, x_t, t, said.detach(), fraction)
    return loss


def first_look(
    schedule: Schedule,
    objective: Objective,
    predict: Callable[[Images, Steps], Images],
    x_t: Images,
    x_unit: Images,
    t: Steps,
) -> Images:
    """x0_hat of a net that has seen none yet, without gradient (Chen et al. 2023, algorithm 1), clipped to [-1, 1].

    The clipping is ours: they predict x0 itself, whereas an x0_hat read from eps is a hundred times too large at T.
    """
    with torch.no_grad():
        said = widen(predict(beside(x_unit, None), t))
        if objective.learned_variance:
            said, _ = split_variance(said)
        return clip(read_prediction(schedule, objective.target, x_t, said, t).x0_hat)


def _bound(
    schedule: Schedule,
    objective: Objective,
    x0: Images,
    x_t: Images,
    t: Steps,
    said: Images,
    fraction: Images | None,
) -> Tensor:
    """T L_{t-1} of each image, in bits per dimension."""
    x0_hat, eps_hat, _ = read_prediction(schedule, objective.target, x_t, said, t)
    variance = "learned" if objective.learned_variance else "fixed_small"
    bits = step_bound(schedule, x0, x_t, t, Prediction(x0_hat, eps_hat, fraction), variance)
    return schedule.T * bits.to(said.dtype)
