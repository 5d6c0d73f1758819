"""Training batches by address: what sample number g of a run is follows from (seed, g) alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm import randomness
from ddpm.data.store import LazyImages
from ddpm.diffusion.time_sampling import Times
from ddpm.types import Images, Indices, Labels, Pixels, Steps

RESIDENT_SHARE = 0.25
"""Images that take less than this share of a GPU's memory are kept there: CelebA at 64 pixels takes 2 GB."""
MOVED_IMAGES = 1024
"""So many are read at once on their way there."""


class Batch(NamedTuple):
    """Everything random about one training step; `weight` is what the losses are multiplied with, 1 / (T p_t)."""

    x0: Images
    labels: Labels
    t: Steps
    weight: Tensor
    eps: Images
    dropout_keys: Indices


class Batches:
    """The training set as a function from step to batch.

    Sample g of the run (g = 0, 1, ... over all steps) is image `order[g % N]` of epoch g // N, where every epoch has
    its own addressed permutation; flips, t, noise and dropout are addressed by (seed, step, g). A step may be taken in
    parts, on one device after another or on several at once: the parts together are the same samples.

    Args:
        images: uint8 (N, height, width, channels); see `pixels`.
        labels: int64 (N,).
        batch: images per step, of all parts and devices together.
        parts: the ranges of 0..batch-1 that this process computes, one after another.
        times: where t and the weight come from.
        null_label: what a dropped label becomes.
        label_dropout: how often it is dropped.
        flip: mirror half of the images.
        offset_noise: how much of one more normal number per image and channel is added to the noise, so that a net
            learns to move the mean of an image (Guttenberg 2023); noise then has variance 1 + offset_noise^2.
        layout: memory format of the images.
    """

    def __init__(
        self,
        images: LazyImages,
        labels: np.ndarray,
        *,
        seed: int,
        batch: int,
        parts: Sequence[range],
        times: Times,
        null_label: int,
        label_dropout: float,
        flip: bool,
        offset_noise: float,
        device: torch.device,
        layout: torch.memory_format,
    ) -> None:
        self.num_images, self.labels = len(images), torch.from_numpy(np.array(labels)).to(device)
        self.seed, self.batch, self.parts, self.times = seed, batch, parts, times
        self.null_label, self.label_dropout, self.flip, self.offset_noise = (
            null_label,
            label_dropout,
            flip,
            offset_noise,
        )
        self.device, self.layout = device, layout
        self._order = lru_cache(maxsize=2)(self._new_order)  # two: a batch may span epochs
        fits = device.type == "cuda" and images.nbytes < _memory_bytes(device) * RESIDENT_SHARE
        self.pixels = Resident(images, device) if fits else Streamed(images, device)

    def __call__(self, step: int, part: int = 0) -> Batch:
        """A part of step 1, 2, ...; the same whoever asks, and whenever (`times` may answer by what was learned)."""
        chosen = self.parts[part]
        first = (step - 1) * self.batch
        index = torch.arange(first + chosen.start, first + chosen.stop, device=self.device)
        items = self._items(step, part)
        following = (step, part + 1) if part + 1 < len(self.parts) else (step + 1, 0)
        x0 = to_images(self.pixels(items, lambda: self._items(*following)), self.device, self.layout)
        if self.flip:
            mirrored = randomness.uniform(self.seed, "flip", step, index, 1) < 0.5
            x0 = torch.where(mirrored.reshape(-1, 1, 1, 1), x0.flip(-1), x0)
        labels = self.labels[items.on_device]
        if self.label_dropout:
            dropped = randomness.uniform(self.seed, "label dropout", step, index, 1)[:, 0] < self.label_dropout
            labels = torch.where(dropped, self.null_label, labels)
        t, weight = self.times(step, index)
        return Batch(
            x0,
            labels,
            t,
            weight,
            eps=self._noise(step, index, tuple(x0.shape[1:])),
            dropout_keys=randomness.words(self.seed, "dropout", step, index, 1)[:, 0],
        )

    def _noise(self, step: int, index: Indices, shape: tuple[int, ...]) -> Images:
        eps = randomness.normal(self.seed, "noise", step, index, shape)
        if self.offset_noise:
            offset = randomness.normal(self.seed, "offset noise", step, index, shape[:1])
            eps = eps + self.offset_noise * offset[..., None, None]
        return eps.contiguous(memory_format=self.layout)

    def _items(self, step: int, part: int) -> "Items":
        """Positions in the data set of a part of a step."""
        first = (step - 1) * self.batch
        position, end = first + self.parts[part].start, first + self.parts[part].stop
        parts: list[Items] = []
        while position < end:
            epoch, offset = divmod(position, self.num_images)
            whole = self._order(epoch)
            parts.append(Items(*(order[offset : offset + end - position] for order in whole)))
            position += len(parts[-1].on_cpu)
        return parts[0] if len(parts) == 1 else Items(*(torch.cat(halves) for halves in zip(*parts, strict=True)))

    def _new_order(self, epoch: int) -> "Items":
        order = randomness.permutation(self.seed, "order", epoch, self.num_images)
        return Items(order, order.to(self.device))  # moved once an epoch: a step then waits for no copy


class Items(NamedTuple):
    """Positions in the data set, where each reader wants them."""

    on_cpu: Tensor
    on_device: Tensor


class Resident:
    """Images in the memory of the device."""

    def __init__(self, images: LazyImages, device: torch.device) -> None:
        self.images = torch.empty(images.shape, dtype=torch.uint8, device=device)
        for first in range(0, len(images), MOVED_IMAGES):
            some = slice(first, first + MOVED_IMAGES)
            self.images[some] = torch.from_numpy(np.array(images[some]))

    def __call__(self, items: Items, following: object) -> Pixels:  # noqa: ARG002
        """Pick images; what comes next does not matter here."""
        return self.images[items.on_device]


class Streamed:
    """Images on disk, memory-mapped; a thread reads the next ones while these are computed with.

    Encoded ones are decoded there, too, by further threads. For a GPU they are read into pinned memory, from where the
    copy does not hold up the program.
    """

    def __init__(self, images: LazyImages, device: torch.device) -> None:
        self.images, self.pin = images, device.type == "cuda"
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="images")
        self.ahead: tuple[np.ndarray, Future[Tensor]] | None = None

    def __call__(self, items: Items, following: Callable[[], Items]) -> Pixels:
        """Read images, and begin to read those that follow."""
        wanted, ahead, coming = items.on_cpu.numpy(), self.ahead, following().on_cpu.numpy()
        foreseen = ahead is not None and np.array_equal(ahead[0], wanted)
        pixels = ahead[1].result() if ahead is not None and foreseen else self._read(wanted)
        self.ahead = coming, self.reader.submit(self._read, coming)
        return pixels

    def _read(self, items: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(self.images[items])
        return pixels.pin_memory() if self.pin else pixels


def to_images(pixels: Pixels, device: torch.device, layout: torch.memory_format) -> Images:
    """uint8 NHWC -> float32 NCHW in [-1, 1] in a memory format; 0 -> -1 and 255 -> 1 exactly."""
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(memory_format=layout)


def to_pixels(images: Images) -> Pixels:
    """float NCHW in [-1, 1] -> uint8 NHWC, rounded to the nearest level; values outside are clipped."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


def _memory_bytes(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).total_memory)
