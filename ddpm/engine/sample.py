"""Sampling: image i is a function of (weights, sampler, seed, i), whatever the batch size or an interruption."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from ddpm import randomness
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, State
from ddpm.digest import file_sha256
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import build_denoiser, build_schedule, build_settings
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import memory_format, require_precision, set_determinism
from ddpm.experiment.params import SampleParams
from ddpm.experiment.workspace import atomic_path, write_json
from ddpm.types import Images, Indices, Labels

Trajectories = Callable[[Indices], Iterator[State]]


def trajectories(checkpoint: Checkpoint, sample: SampleParams, seed: int, device: torch.device) -> Trajectories:
    """The sampler of `sample` over the net of `checkpoint`, as a function from image numbers to their reverse steps.

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

    def start(index: Indices) -> Iterator[State]:
        def noise(k: int) -> Images:
            return randomness.normal(seed, "reverse noise", k, index, shape)

        denoise = build_denoiser(
            ready, schedule, checkpoint.objective, checkpoint.model, sample, labels_of(checkpoint, index)
        )
        x_T = schedule.prior_scale * randomness.normal(seed, "x_T", 0, index, shape)
        return SAMPLERS[sample.sampler](
            denoise, schedule, x_T.to(memory_format=memory_format(device)), steps, noise, settings
        )

    return start


def labels_of(checkpoint: Checkpoint, index: Indices) -> Labels | None:
    """Image i shows class i mod num_classes, so every class is drawn equally often; None for a net without labels."""
    return index % checkpoint.model.num_classes if checkpoint.model.num_classes else None


def sample_images(
    checkpoint: Checkpoint, sample: SampleParams, work: Path, device: torch.device, tick: Callable[[int], None]
) -> Path:
    """Draw `sample.num_images` images into `work/images.npy` (uint8 NHWC), going on where an earlier call was stopped.

    Every batch has the same size (the last one draws a few images too many and drops them), so that a compiled net
    has one shape.

    Returns:
        The path of the finished array.
    """
    size = checkpoint.data.image_size
    shape = (sample.num_images, size, size, checkpoint.data.channels)
    path, done_file = work / "images.npy", work / "done.json"
    done = json.loads(done_file.read_text())["images"] if done_file.is_file() and path.is_file() else 0
    images = np.load(path, mmap_mode="r+", allow_pickle=False) if done else _reserve(path, shape)
    start = trajectories(checkpoint, sample, sample.seed, device)
    tick(done)
    with torch.inference_mode():
        for first in range(done, sample.num_images, sample.batch):
            last = min(first + sample.batch, sample.num_images)
            images[first:last] = _final(start(torch.arange(first, first + sample.batch, device=device)))[: last - first]
            images.flush()
            write_json(done_file, {"images": last})
            tick(last - first)
    return path


def _reserve(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new array on disk with all its blocks taken: a full disk is an OSError now, not a bus error in the middle."""
    images: np.memmap = open_memmap(path, "w+", np.uint8, shape)
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            error.filename = str(path)
            raise
    return images


def _final(states: Iterator[State]) -> np.ndarray:
    for state in states:
        last = state
    return to_pixels(last.x_s).cpu().numpy()


def require_settings(checkpoint: Checkpoint, sample: SampleParams, device: torch.device) -> None:
    """Refuse settings that this checkpoint or device cannot serve, before anything is drawn.

    Raises:
        ValueError: the first rule that is broken.
    """
    require_precision(sample.precision, device)
    scale = sample.guidance_scale
    if scale != 1 and not checkpoint.objective.label_dropout:
        raise ValueError(f"sample.guidance_scale must be 1 for a checkpoint trained without label dropout, got {scale}")
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


def describe(checkpoint: Checkpoint, sample: SampleParams, weights: Path, images: Path) -> dict[str, object]:
    """What the images are: counts, settings, NFE and digests, for results/sample.json."""
    passes = 1 if sample.guidance_scale in {0.0, 1.0} else 2
    return {
        "num_images": sample.num_images,
        "nfe": sample.steps * passes,
        "sampler": sample.sampler,
        "steps": sample.steps,
        "guidance_scale": sample.guidance_scale,
        "seed": sample.seed,
        "trained_steps": checkpoint.step,
        "weights_sha256": file_sha256(weights),
        "images_sha256": file_sha256(images),
    }
