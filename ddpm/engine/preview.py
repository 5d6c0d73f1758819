"""A few images from the weights as they are, drawn again and again on the way: what the losses do not show."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm import randomness
from ddpm.diffusion.denoiser import clip, denoiser
from ddpm.diffusion.samplers.ddim import ddim
from ddpm.diffusion.samplers.steps import Settings, trailing
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import Predict
from ddpm.engine.device import memory_format
from ddpm.experiment.params import Params
from ddpm.types import Images


def build_preview(
    params: Params, schedule: Schedule, predict: Predict, device: torch.device
) -> Callable[[], NDArray[np.uint8]]:
    """Images from the weights alone: the same x_T and labels at every call, deterministic DDIM (Song et al. 2021).

    train.preview_steps steps from T down, x0_hat clipped, no guidance: a picture changes because the weights did.
    Image i starts from the same noise whatever train.preview_images is, and shows class i mod model.num_classes.

    Args:
        params: sections data, model, objective and train are read.
        schedule: tables on the device.
        predict: the net; it is called train.preview_steps times for all images at once.
        device: where the net is.

    Returns:
        A function that draws train.preview_images images, uint8 (count, height, width, channels).
    """
    config, (height, width, channels) = params.train, params.data.shape
    index = torch.arange(config.preview_images, device=device)
    labels = index % params.model.num_classes if params.model.num_classes else None
    x_T = schedule.prior_scale * randomness.normal(
        config.seed, "preview", 0, index, (channels, height, width)
    ).contiguous(memory_format=memory_format(device, params.model.channels))
    steps = trailing(schedule, config.preview_steps)

    @torch.no_grad()
    def preview() -> NDArray[np.uint8]:
        # A new one every time: a self-conditioned denoiser remembers its trajectory.
        denoise = denoiser(
            schedule,
            params.objective.target,
            lambda x_t, t: predict(x_t, t, labels, None),
            clip,
            learned_variance=params.objective.variance == "learned",
            self_condition=params.objective.self_condition,
        )
        for state in ddim(denoise, schedule, x_T, steps, _no_noise, Settings(eta=0.0)):
            last = state
        return to_pixels(last.x_s).cpu().numpy()

    return preview


def _no_noise(k: int) -> Images:
    raise AssertionError(f"DDIM with eta 0 asks for no noise, but did at step {k}")
