"""Sampling: image i is a function of (weights, sampler, seed, i), whatever the batch size or an interruption."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, State
from ddpm.digest import file_sha256
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import build_denoiser, build_schedule, build_settings
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import keep_heap, memory_format, require_precision, set_determinism
from ddpm.engine.distributed import Team
from ddpm.engine.rows import Tick, fill_rows
from ddpm.experiment.params import SampleParams
from ddpm.experiment.rules import FROM_PURE_NOISE
from ddpm.experiment.workspace import atomic_path
from ddpm.types import Images, Indices, Labels

Trajectories = Callable[[Indices], Iterator[State]]


class Drawn(NamedTuple):
    """Where the images are, and how often the net saw each of them on average (NFE); guidance's two passes are two."""

    path: Path
    nfe: float


def trajectories(
    checkpoint: Checkpoint,
    sample: SampleParams,
    seed: int,
    device: torch.device,
    seen: Callable[[int], None] = lambda num_images: None,  # noqa: ARG005
) -> Trajectories:
    """The sampler of `sample` over the net of `checkpoint`, as a function from image numbers to their reverse steps.

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
    schedule = build_schedule(checkpoint.schedule, device)
    ready = torch.compile(net) if sample.compile else net
    steps, settings = SPACINGS[sample.spacing](schedule, sample.steps), build_settings(sample)
    shape = (checkpoint.data.channels, checkpoint.data.image_size, checkpoint.data.image_size)
    scale = max(1.0, schedule.path(steps[:1])[0].noise)  # prior_scale of the first step: not all spacings start at T

    def counted(x_t: Images, *others: Tensor | None) -> Tensor:
        seen(len(x_t))
        output: Tensor = ready(x_t, *others)
        return output

    def start(index: Indices) -> Iterator[State]:
        def noise(k: int) -> Images:
            return randomness.normal(seed, "reverse noise", k, index, shape)

        denoise = build_denoiser(
            counted, schedule, checkpoint.objective, checkpoint.model, sample, labels_of(checkpoint, index)
        )
        x_T = scale * randomness.normal(seed, "x_T", 0, index, shape)
        x_T = x_T.to(memory_format=memory_format(device, checkpoint.model.channels))
        return SAMPLERS[sample.sampler](denoise, schedule, x_T, steps, noise, settings)

    return start


def labels_of(checkpoint: Checkpoint, index: Indices) -> Labels | None:
    """Image i shows class i mod num_classes, so every class is drawn equally often; None for a net without labels."""
    return index % checkpoint.model.num_classes if checkpoint.model.num_classes else None


def sample_images(checkpoint: Checkpoint, sample: SampleParams, work: Path, team: Team, tick: Tick) -> Drawn:
    """Draw `sample.num_images` images into `work/images.npy` (uint8 NHWC), going on where an earlier call was stopped.

    Every batch has the same size (the last one draws a few images too many and drops them), so that a compiled net
    has one shape, and that an image is the same on any number of processes. NFE counts what the net was really given,
    those few images included.

    Args:
        tick: called by the first process with the number of images that were finished by all since the last call.
    """
    if team.device.type == "cpu":
        keep_heap()
    size, evaluations = checkpoint.data.image_size, 0

    def seen(num_images: int) -> None:
        nonlocal evaluations
        evaluations += num_images

    start = trajectories(checkpoint, sample, sample.seed, team.device, seen)

    def draw(first: int, last: int) -> tuple[NDArray[np.uint8], int]:
        nonlocal evaluations
        evaluations = 0
        with torch.inference_mode():
            images = _final(start(torch.arange(first, first + sample.batch, device=team.device)))
        return images[: last - first], evaluations

    path, shape = work / "images.npy", (sample.num_images, size, size, checkpoint.data.channels)
    counts = fill_rows(path, work / "evaluations.npy", shape, np.uint8, sample.batch, draw, team, tick)
    return Drawn(path, int(counts.sum()) / (len(counts) * sample.batch))


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


def save_labels(path: Path, checkpoint: Checkpoint, num_images: int) -> None:
    """Write the class of each image, int64; zeros for a net without labels."""
    labels = labels_of(checkpoint, torch.arange(num_images))
    array = np.zeros(num_images, np.int64) if labels is None else labels.numpy()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def describe(
    checkpoint: Checkpoint, sample: SampleParams, weights: Path, images: Path, nfe: float
) -> dict[str, object]:
    """What the images are: counts, settings, NFE and digests, for results/sample.json."""
    return {
        "num_images": sample.num_images,
        "nfe": int(nfe) if nfe.is_integer() else round(nfe, 2),
        "sampler": sample.sampler,
        "steps": sample.steps,
        "guidance_scale": sample.guidance_scale,
        "seed": sample.seed,
        "trained_steps": checkpoint.step,
        "weights_sha256": file_sha256(weights),
        "images_sha256": file_sha256(images),
    }
