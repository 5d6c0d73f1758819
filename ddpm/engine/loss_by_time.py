"""What a checkpoint's net loses at each noise level, image by image."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.denoiser import split_variance, widen
from ddpm.diffusion.objective import denoising_loss
from ddpm.diffusion.process import q_sample, read_prediction
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.batches import to_images
from ddpm.engine.build import build_objective, build_predict, build_schedule
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import memory_format, set_determinism
from ddpm.types import Images, Indices, Labels, Steps

BLOCK = 64
"""Images that the net always sees at once: kernels round otherwise for another number."""


class Bin(NamedTuple):
    """Times from low to high, both included."""

    low: float
    high: float


class Losses(NamedTuple):
    """Of each image, (images,) float64: the mean squared error of eps, and what training minimizes."""

    eps: NDArray[np.float64]
    objective: NDArray[np.float64]


def time_bins(schedule: Schedule, count: int) -> list[Bin]:
    """The times that nets are trained on in so many parts of one size: 1..T, or [1, T] where time is continuous.

    Args:
        count: at most T where time comes in whole steps.
    """
    T = schedule.T
    if schedule.continuous:
        edges = np.linspace(1.0, T, count + 1).tolist()
        return [Bin(low, high) for low, high in pairwise(edges)]
    ends = [k * T // count for k in range(count + 1)]
    return [Bin(low + 1, high) for low, high in pairwise(ends)]


def is_plain(checkpoint: Checkpoint) -> bool:
    """Whether training minimizes the mean squared error of eps itself."""
    objective = checkpoint.objective
    return (objective.target, objective.weighting, objective.vlb_weight) == ("eps", "constant", 0.0)


def losses_in_bins(
    checkpoint: Checkpoint,
    split: Split,
    chosen: NDArray[np.int64],
    bins: list[Bin],
    seed: int,
    device: torch.device,
) -> list[Losses]:
    """The losses of some images in each bin, at one t and one noise each; without dropout, the labels shown.

    Image k of any split gets the t and the noise that belong to k, so that splits differ by their images alone. A
    self-conditioned net sees zeros, as in engine/held_out.py.

    Args:
        split: prepared images like those of the checkpoint.
        chosen: (images,), their numbers in the split.
        bins: of `time_bins`.
    """
    set_determinism(deterministic=True)
    schedule = build_schedule(checkpoint.schedule, device)
    objective, predict = (
        build_objective(checkpoint.objective),
        build_predict(checkpoint.build(device), device, "float32"),
    )
    layout = memory_format(device, checkpoint.model.channels)

    def of_block(numbers: Indices, pixels: Images, labels: Labels | None, bin: Bin, k: int) -> tuple[torch.Tensor, ...]:
        x0, said = to_images(pixels, device, layout), []
        t = drawn_times(schedule, bin, seed, k, numbers)
        eps = randomness.normal(seed, "loss by time: noise", k, numbers, tuple(x0.shape[1:])).to(memory_format=layout)

        def heard(x_t: Images, t: Steps) -> Images:
            said.append(predict(x_t, t, labels, None))
            return said[-1]

        loss = denoising_loss(schedule, objective, heard, x0, t, eps)
        output = widen(said[-1])
        if objective.learned_variance:
            output, _ = split_variance(output)
        x_t = q_sample(schedule, x0, t, eps)
        eps_hat = read_prediction(schedule, objective.target, x_t, output, t).eps_hat
        return (eps_hat - eps).square().mean(dim=(1, 2, 3)), loss

    parts: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in bins]
    with torch.inference_mode():
        for first in range(0, len(chosen), BLOCK):
            places = np.arange(first, first + BLOCK) % len(chosen)
            pixels = torch.from_numpy(np.stack([np.asarray(split.images[i]) for i in chosen[places]]))
            labels = torch.from_numpy(np.array(split.labels[chosen[places]])).to(device)
            shown = labels if checkpoint.model.num_classes else None
            numbers = torch.from_numpy(places).to(device)
            for k, bin in enumerate(bins):
                parts[k].append(of_block(numbers, pixels, shown, bin, k))
    return [Losses(*(_joined(column, len(chosen)) for column in zip(*some, strict=True))) for some in parts]


def drawn_times(schedule: Schedule, bin: Bin, seed: int, k: int, numbers: Indices) -> Steps:
    """t of images in bin number k, uniform within it."""
    purpose = "loss by time: t"
    if schedule.continuous:
        return bin.low + (bin.high - bin.low) * randomness.uniform(seed, purpose, k, numbers, 1)[:, 0]
    return randomness.integers(seed, purpose, k, numbers, int(bin.low), int(bin.high))


def _joined(blocks: tuple[torch.Tensor, ...], count: int) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = torch.cat(blocks).cpu().double().numpy()[:count]
    return losses
