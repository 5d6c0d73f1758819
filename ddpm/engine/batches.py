"""Training batches by address: what sample number g of a run is follows from (seed, g) alone."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.time_sampling import Times
from ddpm.engine.device import memory_format
from ddpm.types import Images, Indices, Labels, Pixels, Steps


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
    its own addressed permutation; flips, t, noise and dropout are addressed by (seed, step, g).

    Args:
        images: uint8 (N, height, width, channels); kept on the GPU when it takes less than a quarter of its memory.
        labels: int64 (N,).
        batch: images per step.
        times: where t and the weight come from.
        null_label: what a dropped label becomes.
        label_dropout: how often it is dropped.
        flip: mirror half of the images.
        offset_noise: how much of one more normal number per image and channel is added to the noise, so that a net
            learns to move the mean of an image (Guttenberg 2023); noise then has variance 1 + offset_noise^2.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        seed: int,
        batch: int,
        times: Times,
        null_label: int,
        label_dropout: float,
        flip: bool,
        offset_noise: float,
        device: torch.device,
    ) -> None:
        self.images, self.labels = images, torch.from_numpy(np.array(labels)).to(device)
        self.seed, self.batch, self.times, self.offset_noise = seed, batch, times, offset_noise
        self.null_label, self.label_dropout, self.flip, self.device = null_label, label_dropout, flip, device
        self.resident: Tensor | None = None
        if device.type == "cuda" and images.nbytes < torch.cuda.get_device_properties(device).total_memory / 4:
            self.resident = torch.from_numpy(np.array(images)).to(device)
        self._order = lru_cache(maxsize=2)(
            lambda epoch: randomness.permutation(seed, "order", epoch, len(images))  # two: a batch may span epochs
        )

    def __call__(self, step: int) -> Batch:
        """The batch of step 1, 2, ...; the same whoever asks, and whenever (`times` may answer by what was learned)."""
        first = (step - 1) * self.batch
        items = self._items(first)
        index = torch.arange(first, first + self.batch, device=self.device)
        x0 = to_images(self._pixels(items), self.device)
        if self.flip:
            mirrored = randomness.uniform(self.seed, "flip", step, index, 1) < 0.5
            x0 = torch.where(mirrored.reshape(-1, 1, 1, 1), x0.flip(-1), x0)
        labels = self.labels[items.to(self.device)]
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
        return eps

    def _items(self, first: int) -> Tensor:
        """Positions in the data set of samples first .. first + batch - 1 of the run."""
        parts: list[Tensor] = []
        position, end = first, first + self.batch
        while position < end:
            epoch, offset = divmod(position, len(self.images))
            parts.append(self._order(epoch)[offset : offset + end - position])
            position += len(parts[-1])
        return torch.cat(parts)

    def _pixels(self, items: Tensor) -> Pixels:
        if self.resident is not None:
            return self.resident[items.to(self.device)]
        return torch.from_numpy(self.images[items.numpy()])


def to_images(pixels: Pixels, device: torch.device) -> Images:
    """uint8 NHWC -> float32 NCHW in [-1, 1] in the device's memory format; 0 -> -1 and 255 -> 1 exactly."""
    images = pixels.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(memory_format=memory_format(device))


def to_pixels(images: Images) -> Pixels:
    """float NCHW in [-1, 1] -> uint8 NHWC, rounded to the nearest level; values outside are clipped."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
