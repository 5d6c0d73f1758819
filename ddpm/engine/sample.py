"""Sampling: image i is a function of (weights, sampler, seed, i), whatever the batch, the range or an interruption.

Kernels are chosen by the shape of their input, and round differently. So images are computed in blocks that are fixed
by their numbers: block b holds the images b L..b L + L - 1, all of them computed, also those that nobody asked for. On
a CPU L follows from the image alone, and the bytes do not depend on `sample.batch`; on a GPU L is `sample.batch`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ddpm.diffusion.samplers.steps import State
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import build_schedule
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import DTYPES, keep_heap, require_precision, set_determinism
from ddpm.engine.distributed import Team
from ddpm.engine.reverse import Reverse
from ddpm.engine.rows import Tick, fill_rows, spans
from ddpm.experiment.params import SampleParams
from ddpm.experiment.rules import FROM_PURE_NOISE
from ddpm.experiment.workspace import atomic_path
from ddpm.types import Images, Indices, Labels

Trajectories = Callable[[Indices], Iterator[State]]


CPU_BLOCK_PIXELS = 16384
"""Pixels of a block on a CPU: 16 images of 32x32. Measured images/s fall below and above."""
CPU_BLOCK_IMAGES = 64
"""At most, however small they are."""


class Drawn(NamedTuple):
    """What was drawn.

    Attributes:
        path: of the images.
        nfe: how often the net saw each of them on average; guidance's two passes are two.
        evaluations: how often it saw all of them, in whole numbers.
        new_images: those that this call added to what an earlier one had left, by all processes.
        new_evaluations: of those.
    """

    path: Path
    nfe: float
    evaluations: int
    new_images: int
    new_evaluations: int


def reverse_of(
    checkpoint: Checkpoint,
    sample: SampleParams,
    seed: int,
    device: torch.device,
    seen: Callable[[int], None] = lambda num_images: None,  # noqa: ARG005
) -> Reverse:
    """The sampler of `sample` over the net of `checkpoint`.

    Args:
        checkpoint: what to sample from.
        sample: how.
        seed: of x_T and of the noise of every step.
        device: where the net is.
        seen: called at every evaluation of the net with the number of images in it.

    Raises:
        ValueError: the settings do not fit the checkpoint or the device.
    """
    require_settings(checkpoint, sample, device)
    set_determinism(deterministic=True)
    net = checkpoint.build(device)
    if sample.precision != "float32":
        narrow(net, DTYPES[sample.precision])
    ready = torch.compile(net) if sample.compile else net

    def counted(x_t: Images, *others: Tensor | None) -> Tensor:
        seen(len(x_t))
        output: Tensor = ready(x_t, *others)
        return output

    return Reverse(checkpoint, sample, counted, build_schedule(checkpoint.schedule, device), seed)


def trajectories(
    checkpoint: Checkpoint,
    sample: SampleParams,
    seed: int,
    device: torch.device,
    seen: Callable[[int], None] = lambda num_images: None,  # noqa: ARG005
) -> Trajectories:
    """`reverse_of` as a function from image numbers to their reverse steps, from pure noise."""
    reverse = reverse_of(checkpoint, sample, seed, device, seen)

    def start(index: Indices) -> Iterator[State]:
        return reverse.walk(reverse.prior(index), index, labels_of(checkpoint, index))

    return start


def labels_of(checkpoint: Checkpoint, index: Indices) -> Labels | None:
    """Image i shows class i mod num_classes, so every class is drawn equally often; None for a net without labels."""
    return index % checkpoint.model.num_classes if checkpoint.model.num_classes else None


def narrow(net: nn.Module, dtype: torch.dtype) -> None:
    """Round once, in place, the weights that autocast would round at every call: those of convolutions and linear maps.

    The net's output under autocast stays the same, bit for bit; norms and embeddings, which autocast leaves alone, keep
    their float32. The CIFAR-10 net draws 2 % faster in blocks of 16 on a CPU, 10 % in blocks of 1.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(dtype)


def block_images(height: int, width: int, batch: int, device: torch.device) -> int:
    """How many images are always computed together; on a CPU a function of the image alone.

    Args:
        height, width: of an image, in pixels.
        batch: `sample.batch`, which decides on a GPU.
        device: where the net is.
    """
    if device.type != "cpu":
        return batch
    return min(max(CPU_BLOCK_PIXELS // (height * width), 1), CPU_BLOCK_IMAGES)


def sample_images(
    checkpoint: Checkpoint,
    sample: SampleParams,
    work: Path,
    team: Team,
    tick: Tick,
    chosen: tuple[int, int] | None = None,
) -> Drawn:
    """Draw images into `work/images.npy` (uint8 NHWC), going on where an earlier call was stopped.

    A batch is `sample.batch` images, rounded up to whole blocks: what is finished at once, and at most lost by a kill.
    Which process draws a batch changes no image, nor does the range. Evaluations count the images that are kept.

    Args:
        tick: called by the first process with the number of images that were finished by all since the last call.
        chosen: the numbers first..last-1; None: all `sample.num_images`.
    """
    if team.device.type == "cpu":
        keep_heap()
    first, last = chosen or (0, sample.num_images)
    height, width, channels = checkpoint.data.shape
    block = block_images(height, width, sample.batch, team.device)
    batch = -(-sample.batch // block) * block
    draw = _drawing(checkpoint, sample, block, team.device)
    path, marks = work / "images.npy", work / "evaluations.npy"
    shape = (last - first, height, width, channels)
    parts = spans(shape[0], batch, first % batch)
    before = np.load(marks, allow_pickle=False) if marks.is_file() else np.zeros(len(parts), np.int64)
    counts = fill_rows(
        path,
        marks,
        shape,
        np.uint8,
        batch,
        lambda low, high: draw(first + low, first + high),
        team,
        tick,
        lead=first % batch,
    )
    new = np.flatnonzero(before == 0).tolist()
    new_images = sum(parts[number][1] - parts[number][0] for number in new)
    evaluations = int(counts.sum())
    return Drawn(path, evaluations / shape[0], evaluations, new_images, int(counts[new].sum()))


def _drawing(
    checkpoint: Checkpoint, sample: SampleParams, block: int, device: torch.device
) -> Callable[[int, int], tuple[NDArray[np.uint8], int]]:
    """(first, last) -> the images of these numbers and the evaluations spent on them, block by block."""
    seen = 0

    def see(num_images: int) -> None:
        nonlocal seen
        seen += num_images

    start = trajectories(checkpoint, sample, sample.seed, device, see)

    def draw(first: int, last: int) -> tuple[NDArray[np.uint8], int]:
        nonlocal seen
        parts, evaluations = [], 0
        for origin in range(first // block * block, last, block):
            seen = 0
            with torch.inference_mode():
                images = _final(start(torch.arange(origin, origin + block, device=device)))
            assert seen % block == 0  # the net always sees the whole block
            parts.append(images[max(first - origin, 0) : last - origin])
            evaluations += seen // block * len(parts[-1])
        return np.concatenate(parts), evaluations

    return draw


def _final(states: Iterator[State]) -> NDArray[np.uint8]:
    for state in states:
        last = state
    images: NDArray[np.uint8] = to_pixels(last.x_s).cpu().numpy()
    return images


def require_settings(checkpoint: Checkpoint, sample: SampleParams, device: torch.device) -> None:
    """Refuse settings that this checkpoint or device cannot serve, before anything is drawn.

    Raises:
        ValueError: the first rule that is broken.
    """
    require_precision(sample.precision, device)
    scale = sample.guidance_scale
    if scale != 1 and not checkpoint.objective.label_dropout:
        raise ValueError(f"sample.guidance_scale must be 1 for a checkpoint trained without label dropout, got {scale}")
    if sample.variance == "learned" and checkpoint.objective.variance != "learned":
        raise ValueError(
            "sample.variance must be fixed_large or fixed_small for a checkpoint without learned variance, got learned"
        )
    if checkpoint.schedule.zero_terminal_snr:
        if sample.sampler not in FROM_PURE_NOISE:
            allowed = ", ".join(FROM_PURE_NOISE)
            raise ValueError(
                f"sample.sampler must be one of {allowed} for a checkpoint with zero terminal SNR, got {sample.sampler}"
            )
        if sample.spacing == "karras":
            raise ValueError("sample.spacing must not be karras for a checkpoint with zero terminal SNR, got karras")
    if sample.steps > checkpoint.schedule.T:
        raise ValueError(
            f"sample.steps must be at most the checkpoint's T = {checkpoint.schedule.T}, got {sample.steps}"
        )


def save_labels(path: Path, checkpoint: Checkpoint, first: int, last: int) -> None:
    """Write the class of each of the images first..last-1, int64; zeros for a net without labels."""
    labels = labels_of(checkpoint, torch.arange(first, last))
    array = np.zeros(last - first, np.int64) if labels is None else labels.numpy()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
