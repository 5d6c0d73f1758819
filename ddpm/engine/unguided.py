"""A checkpoint as a function of x_t and t alone: no guidance, no memory, float32."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ddpm.data.store import LazyImages, Split
from ddpm.diffusion.denoiser import Denoiser, clip, denoiser
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.batches import to_images
from ddpm.engine.build import build_predict, build_schedule
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import memory_format, set_determinism
from ddpm.types import Images, Indices, Labels

Unguided = Callable[[Labels | None], Denoiser]


def unguided(checkpoint: Checkpoint, device: torch.device, clip_x0: bool) -> tuple[Schedule, Unguided]:
    """The process of a checkpoint, and its denoiser as a function of the labels of a batch.

    The guidance scale is 1: a guided belief is no expectation of x0, so no bound, density or flow of the data follows
    from it. A self-conditioned net is shown zeros, since its memory would make the belief depend on the way.
    """
    set_determinism(deterministic=True)
    schedule, objective = build_schedule(checkpoint.schedule, device), checkpoint.objective
    predict = build_predict(checkpoint.build(device), device, "float32")

    def build(labels: Labels | None) -> Denoiser:
        return denoiser(
            schedule,
            objective.target,
            lambda x_t, t: predict(x_t, t, labels, None),
            clip if clip_x0 else None,
            learned_variance=objective.variance == "learned",
            self_condition=objective.self_condition,
            remember=False,
        )

    return schedule, build


def require_images(checkpoint: Checkpoint, images: LazyImages, num_images: int, place: Path | str) -> None:
    """Refuse images that the checkpoint's net cannot take, or fewer than are asked for.

    Raises:
        ValueError: the first rule that is broken.
    """
    shape = checkpoint.data.shape
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        raise ValueError(
            f"{place}: must hold uint8 images of {shape} like those of the checkpoint, "
            f"got {images.dtype} {images.shape}; prepare the data it was trained on"
        )
    if num_images > len(images):
        raise ValueError(
            f"--num-images must be at most {len(images)}, all that {place} holds, got {num_images}; ask for fewer"
        )


def image_batches(
    checkpoint: Checkpoint, split: Split, num_images: int, batch: int, device: torch.device
) -> Iterator[tuple[Indices, Images, Labels | None]]:
    """The first images of a split with their numbers, and with their labels where the net has classes."""
    for first in range(0, num_images, batch):
        chosen = slice(first, min(first + batch, num_images))
        labels = torch.from_numpy(np.array(split.labels[chosen])).to(device) if checkpoint.model.num_classes else None
        layout = memory_format(device, checkpoint.model.channels)
        x0 = to_images(torch.from_numpy(np.array(split.images[chosen])), device, layout)
        yield torch.arange(chosen.start, chosen.stop, device=device), x0, labels
