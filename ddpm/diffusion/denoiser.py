"""The denoiser contract: samplers see one callable, `denoise(x_t, t) -> (x0_hat, eps_hat)`.

What the net was trained to predict, guidance, self-conditioning and thresholds live in here.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ddpm.diffusion.process import Prediction, read_prediction, unit_scales
from ddpm.diffusion.schedule import Schedule, at
from ddpm.types import Images, Labels, Steps

Denoiser: TypeAlias = Callable[[Images, Steps], Prediction]
Predict: TypeAlias = Callable[[Images, Steps], Images]
PredictLabeled: TypeAlias = Callable[[Images, Steps, Labels], Images]
Threshold: TypeAlias = Callable[[Images], Images]


def denoiser(
    schedule: Schedule,
    target: str,
    predict: Predict,
    threshold: Threshold | None,
    learned_variance: bool = False,
    self_condition: bool = False,
    remember: bool = True,
) -> Denoiser:
    """Wrap a net's output as a belief about x0 and eps.

    With a threshold, x0_hat is put into range (Ho et al. 2020, their code) and eps_hat is made to agree with it, so
    that x_t = signal_scale x0_hat + noise_scale eps_hat always holds.

    Args:
        schedule: tables on the device of the images.
        target: a key of `ddpm.diffusion.process.TARGETS`.
        predict: the net, of x_t at unit variance.
        threshold: `clip`, a `dynamic_threshold`, or None.
        learned_variance: the net's output has twice the channels, the second half says where between its bounds log
            variance lies, -1 to 1 (Nichol & Dhariwal 2021, eq. 15). They trust it to stay there; here it is held.
        self_condition: the net's input has twice the channels, x_t beside the x0_hat of the call before (Chen et al.
            2023, algorithm 2). The denoiser then belongs to one trajectory of one batch.
        remember: False shows zeros at every call: what solves an ODE, inverts or integrates a likelihood needs a
            belief that is a function of x_t and t alone.
    """
    memory: Images | None = None

    def denoise(x_t: Images, t: Steps) -> Prediction:
        nonlocal memory
        x_in = x_t / unit_scales(schedule, t, x_t)[2]
        output = widen(predict(beside(x_in, memory) if self_condition else x_in, t))
        fraction = None
        if learned_variance:
            output, fraction = split_variance(output)
            fraction = fraction.clamp(0, 1)
        x0_hat, eps_hat, _ = read_prediction(schedule, target, x_t, output, t)
        if threshold is not None:
            a, b = at(schedule, t, x_t)
            x0_hat = threshold(x0_hat)
            eps_hat = (x_t - a * x0_hat) / b
        if self_condition and remember:
            memory = clip(x0_hat).detach()
        return Prediction(x0_hat, eps_hat, fraction)

    return denoise


def beside(x_t: Images, x0_hat: Images | None) -> Images:
    """The input of a self-conditioned net: x_t and an earlier x0_hat in twice the channels; zeros where there is none.

    It stays contiguous or channels_last, as x_t is.
    """
    return torch.cat([x_t, torch.zeros_like(x_t) if x0_hat is None else x0_hat.to(x_t.dtype)], dim=1)


def split_variance(output: Images) -> tuple[Images, Images]:
    """What a net with learned variance says: its target, and the place of log variance, 0 to 1 between its bounds."""
    said, place = output.chunk(2, dim=1)
    return said, (place + 1) / 2


def widen(output: Tensor) -> Tensor:
    """A net's output in float32 at least: mixing in bf16 would lose the first steps."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


def clip(x0_hat: Images) -> Images:
    """Put every pixel into [-1, 1] (Ho et al. 2020, their code)."""
    return x0_hat.clamp(-1, 1)


def dynamic_threshold(percentile: float) -> Threshold:
    """Clip each image at its own percentile of |x0_hat|, at least 1, and rescale (Saharia et al. 2022, sec. 2.3)."""

    def threshold(x0_hat: Images) -> Images:
        size = x0_hat.abs().flatten(1).quantile(percentile, dim=1).clamp(min=1).reshape(-1, 1, 1, 1)
        return x0_hat.clamp(-size, size) / size

    return threshold


def guided(
    predict: PredictLabeled,
    labels: Labels,
    null_label: int,
    scale: float,
    interval: tuple[float, float] = (0.0, float("inf")),
) -> Predict:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6, with scale = 1 + w).

    output = unconditional + scale (conditional - unconditional): scale 0 ignores the label, 1 is the conditional net.
    Both halves run as one batch of twice the size; scale 0 and 1 need one pass only.

    Args:
        predict: the net with labels.
        labels: (batch,), what each image shall show.
        null_label: the label of an unconditional pass.
        scale: guidance scale.
        interval: guide where low < t <= high, and be conditional elsewhere (Kynkäänniemi et al. 2024).
    """
    null = torch.full_like(labels, null_label)
    low, high = interval
    if scale == 1.0:
        return lambda x_t, t: predict(x_t, t, labels)

    def predict_guided(x_t: Images, t: Steps) -> Images:
        both = torch.cat([labels, null])
        conditional, unconditional = widen(predict(torch.cat([x_t, x_t]), torch.cat([t, t]), both)).chunk(2)
        inside = ((t > low) & (t <= high)).reshape(-1, 1, 1, 1)
        return torch.where(inside, unconditional + scale * (conditional - unconditional), conditional)

    if scale == 0.0 and low <= 0 and high == float("inf"):
        return lambda x_t, t: predict(x_t, t, null)
    return predict_guided
