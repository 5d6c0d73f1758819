"""The denoiser contract: samplers see one callable, `denoise(x_t, t) -> (x0_hat, eps_hat)`.

What the net was trained to predict, guidance and clipping live in here.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch

from ddpm.diffusion.process import Prediction, read_prediction
from ddpm.diffusion.schedule import Schedule, at
from ddpm.types import Images, Labels, Steps

Denoiser: TypeAlias = Callable[[Images, Steps], Prediction]
Predict: TypeAlias = Callable[[Images, Steps], Images]
PredictLabeled: TypeAlias = Callable[[Images, Steps, Labels], Images]


def denoiser(schedule: Schedule, target: str, predict: Predict, clip_x0: bool) -> Denoiser:
    """Wrap a net's output as a belief about x0 and eps.

    With clipping, x0_hat is put into [-1, 1] (Ho et al. 2020, their code) and eps_hat is made to agree with it, so that
    x_t = signal_scale x0_hat + noise_scale eps_hat always holds.
    """

    def denoise(x_t: Images, t: Steps) -> Prediction:
        belief = read_prediction(schedule, target, x_t, predict(x_t, t).float(), t)
        if not clip_x0:
            return belief
        x0_hat = belief.x0_hat.clamp(-1, 1)
        return Prediction(x0_hat, (x_t - at(schedule.signal_scale, t) * x0_hat) / at(schedule.noise_scale, t))

    return denoise


def guided(predict: PredictLabeled, labels: Labels, null_label: int, scale: float) -> Predict:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6, with scale = 1 + w).

    output = unconditional + scale (conditional - unconditional): scale 0 ignores the label, 1 is the conditional net.
    Both halves run as one batch of twice the size; scale 0 and 1 need one pass only.
    """
    null = torch.full_like(labels, null_label)
    if scale in {0.0, 1.0}:
        only = labels if scale == 1.0 else null
        return lambda x_t, t: predict(x_t, t, only)
    both = torch.cat([labels, null])

    def predict_guided(x_t: Images, t: Steps) -> Images:
        conditional, unconditional = predict(torch.cat([x_t, x_t]), torch.cat([t, t]), both).float().chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return predict_guided
