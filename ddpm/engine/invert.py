"""Images into latents and back: how much of an image the deterministic sampler can keep."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ddpm.data.store import Split
from ddpm.diffusion.samplers.ddim import ddim
from ddpm.diffusion.samplers.inversion import invert, rising
from ddpm.diffusion.samplers.steps import Settings
from ddpm.drawing.strips import strip
from ddpm.engine.batches import to_pixels
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.unguided import image_batches, require_images, unguided
from ddpm.types import Images


class Inversion(NamedTuple):
    """What became of the images.

    Attributes:
        latents: x_T, float32 (images, channels, height, width); unit variance where the process preserves it.
        columns: original, latent and reconstruction as uint8 (3, images, height, width, channels).
        psnr: peak signal-to-noise ratio of each reconstruction before it is rounded, in dB.
        times: t of the columns.
    """

    latents: NDArray[np.float32]
    columns: NDArray[np.uint8]
    psnr: NDArray[np.float64]
    times: tuple[int, int, int]


def require_invertible(checkpoint: Checkpoint, num_steps: int) -> None:
    """Refuse checkpoints and counts that have no inversion.

    Raises:
        ValueError: the first rule that is broken.
    """
    T = checkpoint.schedule.T
    if T < 2 or not 1 <= num_steps <= T:
        raise ValueError(f"--steps must be at most the checkpoint's T = {T}, itself at least 2, got {num_steps}")
    if checkpoint.schedule.zero_terminal_snr:
        raise ValueError("invert: the checkpoint must leave signal at T, got zero terminal SNR; its x_T is pure noise")


def invert_images(
    checkpoint: Checkpoint,
    split: Split,
    num_images: int,
    num_steps: int,
    batch: int,
    device: torch.device,
    tick: Callable[[int], object],
) -> Inversion:
    """Encode the first images of a split by `invert` and decode them by `ddim` over the same steps.

    The images count as x_1, and the way back ends at t = 1, so that fine steps reach them again.

    Args:
        checkpoint: weights to invert by; a class-conditional net is told the labels, with guidance scale 1.
        split: images and labels.
        num_images: how many.
        num_steps: steps each way, at most T.
        batch: images per network evaluation.
        device: where to compute.
        tick: called with the number of images done.

    Raises:
        ValueError: the checkpoint cannot be inverted, or the images do not fit it.
    """
    require_invertible(checkpoint, num_steps)
    require_images(checkpoint, split.images, num_images, "the images")
    schedule, denoiser_of = unguided(checkpoint, device, clip_x0=False)
    steps, settings = rising(schedule, num_steps), Settings(eta=0.0)
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for _, x0, labels in image_batches(checkpoint, split, num_images, batch, device):
            denoise = denoiser_of(labels)
            *_, (_, x_T, _) = invert(denoise, schedule, x0, steps)
            *_, (_, back, _) = ddim(denoise, schedule, x_T, steps[::-1], _no_noise, settings)
            columns = torch.stack([to_pixels(x) for x in (x0, x_T / schedule.prior_scale, back)], dim=1)
            parts.append((x_T.float().cpu(), columns.cpu(), psnr(x0, back).cpu()))
            tick(len(x0))
    latents, columns, ratios = (torch.cat(part) for part in zip(*parts, strict=True))
    times = (int(steps[0]), int(steps[-1]), int(steps[0]))
    return Inversion(latents.numpy(), columns.numpy().swapaxes(0, 1), ratios.numpy(), times)


def psnr(x0: Images, other: Images) -> Tensor:
    """10 log10(peak^2 / mean squared error) of each image, in dB; the peak is 2, `other` is clipped to [-1, 1]."""
    error = (x0.double() - other.double().clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error)


def draw(found: Inversion, rows: int, zoom: int) -> Image.Image:
    """Original, latent and reconstruction side by side, an image per row."""
    return strip(found.columns[:, :rows], found.times, zoom, "image, latent, reconstruction")


def _no_noise(k: int) -> Images:
    raise AssertionError(f"draw {k}: the way back is deterministic")
