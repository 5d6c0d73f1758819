"""The loss on held-out images, over all noise levels and over each quarter of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.objective import denoising_loss, plain
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.time_sampling import uniform
from ddpm.engine.batches import to_images
from ddpm.engine.build import Predict, build_objective
from ddpm.engine.device import memory_format
from ddpm.engine.distributed import Team
from ddpm.experiment.params import Params
from ddpm.types import Indices, Labels, Pixels

COLUMNS = ("valid_loss", "valid_loss_25", "valid_loss_50", "valid_loss_75", "valid_loss_100")
"""The mean over all t, and over each quarter of 1..T, named by the percentage of T where it ends."""


class Chunk(NamedTuple):
    """Images that the net sees at once, with their numbers; labels are None where it takes none."""

    numbers: Indices
    pixels: Pixels
    labels: Labels | None


def held_out_loss(
    params: Params, split: Split, schedule: Schedule, predict: Predict, team: Team
) -> Callable[[], dict[str, float]]:
    """The loss on held-out images as a function of the weights alone: the same t and noise at every call.

    Whatever training minimizes, this is the constant-weight error of the net's target (of its mean only, where the
    variance is learned), t uniform, without offset noise, self-conditioned on zeros: comparable between weightings.

    Chunks are dealt out to the processes in rounds, each of them calls the net equally often, and the mean is taken
    in the order of the images in float64: their number does not change the result.

    Args:
        params: sections model, objective and train are read.
        split: its first train.valid_images images are used, all where it holds fewer; none only if this is not called.
        schedule: tables on the device of the team.
        predict: the net.
        team: all its processes must call; each gets the whole result.

    Returns:
        A function that gives `COLUMNS`, without a quarter that no image fell into. It waits for the device once.
    """
    config, device = params.train, team.device
    objective = plain(build_objective(params.objective))
    layout = memory_format(device, params.model.channels)
    num_images = min(config.valid_images, len(split.images))
    chunks = deal(split, num_images, config.batch, params.model.num_classes > 0, team)

    def image_losses(chunk: Chunk) -> Tensor:
        x0 = to_images(chunk.pixels, device, layout)
        t = uniform_times(config.seed, chunk.numbers, schedule)
        eps = randomness.normal(config.seed, "held-out noise", 0, chunk.numbers, tuple(x0.shape[1:]))
        predict_labeled = lambda x_t, t: predict(x_t, t, chunk.labels, None)  # noqa: E731
        return denoising_loss(schedule, objective, predict_labeled, x0, t, eps.contiguous(memory_format=layout))

    @torch.no_grad()
    def held_out() -> dict[str, float]:
        mine = torch.stack([image_losses(chunk) for chunk in chunks])  # (rounds, chunk size)
        rounds = team.gather(mine).cpu().double().view(team.count, *mine.shape)
        losses = rounds.transpose(0, 1).flatten()[:num_images]
        quarter = quarters(uniform_times(config.seed, torch.arange(num_images), schedule), schedule.T)
        parts = {name: losses[quarter == k] for k, name in enumerate(COLUMNS[1:])}
        return {name: float(part.mean()) for name, part in ({COLUMNS[0]: losses} | parts).items() if len(part)}

    return held_out


def uniform_times(seed: int, index: Indices, schedule: Schedule) -> Tensor:
    """t of held-out images, by their number."""
    return uniform(seed, 0, index, schedule.T, schedule.continuous, purpose="held-out time")


def quarters(t: Tensor, T: int) -> Tensor:
    """Which quarter of (0, T] each t lies in, 0..3; its upper end belongs to it."""
    return torch.ceil(4 * t / T).long() - 1


def deal(split: Split, num_images: int, most: int, labeled: bool, team: Team) -> list[Chunk]:
    """The chunks of this process: chunk r * count + rank in round r, all of one size and of at most `most` images.

    Behind the last image the first ones come again, so that every process has a chunk in every round; what they give
    is left out. The images stay on the device, so that no call waits for a copy.
    """
    num_chunks = -(-num_images // most)
    size = -(-num_images // max(num_chunks, 1))
    chunks = []
    for chunk in range(team.rank, -(-num_chunks // team.count) * team.count, team.count):
        numbers = torch.arange(chunk * size, (chunk + 1) * size) % num_images
        chosen = (array[numbers.numpy()] for array in (split.images, split.labels))
        pixels, labels = (torch.from_numpy(array).to(team.device) for array in chosen)
        chunks.append(Chunk(numbers.to(team.device), pixels, labels if labeled else None))
    return chunks
