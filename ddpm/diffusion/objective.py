"""The training loss."""

from collections.abc import Callable

from torch import Tensor

from ddpm.diffusion.process import make_target, q_sample, unit_scales
from ddpm.diffusion.schedule import Schedule
from ddpm.types import Images, Steps


def denoising_loss(
    schedule: Schedule, target: str, predict: Callable[[Images, Steps], Images], x0: Images, t: Steps, eps: Images
) -> Tensor:
    """L_simple per image: mean over pixels of |target - prediction|^2 (Ho et al. 2020, eq. 14).

    Noise, mixing and loss are float32 whatever the precision of the net (facts of mixed precision: in bf16 the first
    ten steps would get no noise at all).

    Args:
        schedule: tables on the device of x0.
        target: a key of `ddpm.diffusion.process.TARGETS`.
        predict: the net, (x_t, t) -> output shaped like x_t.
        x0: (batch, channels, height, width), in [-1, 1].
        t: (batch,), 1..T.
        eps: unit normal noise, shaped like x0.

    Returns:
        (batch,), float32.
    """
    x_t = q_sample(schedule, x0, t, eps)
    output = predict(x_t / unit_scales(schedule, t, x_t)[2], t).float()
    return (make_target(schedule, target, x0, eps, t) - output).square().mean(dim=(1, 2, 3))
