"""What samples lie next to in the training set, by pixels or by features, and what unseen images lie next to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm.data.store import LazyImages
from ddpm.engine.features import CPU_BLOCK, image_set, one_thread
from ddpm.engine.reference import load_real
from ddpm.metrics.features import EXTRACTORS, Extractor, build_extractor
from ddpm.metrics.images import Features, StoredImages
from ddpm.metrics.neighbors import k_nearest
from ddpm.metrics.statistics import Statistics

CHUNK_BYTES = 64 * 2**20
"""Of training rows in memory at once."""


@dataclass(frozen=True)
class Space:
    """Where distances are measured.

    Attributes:
        name: `pixels`, or a key of `ddpm.metrics.features.EXTRACTORS`.
        rows: stored images -> (images, dim) float32.
        train: -> the rows of all training images, in chunks.
        order: (images,), which training image each of these rows is of.
        scale: what distances are multiplied with to be shown.
    """

    name: str
    rows: Callable[[StoredImages], Features]
    train: Callable[[], Iterator[Features]]
    order: NDArray[np.int64]
    scale: float


@dataclass(frozen=True)
class Neighborhood:
    """The nearest training images of some images, the nearest first.

    Attributes:
        distances: (images, k), in the unit of the space.
        numbers: (images, k), of training images.
    """

    distances: NDArray[np.float64]
    numbers: NDArray[np.int64]


def pixel_space(train: LazyImages) -> Space:
    """Distances are root mean squared differences per channel, in levels of 0..255."""
    dim = int(np.prod(train.shape[1:]))

    def rows(images: StoredImages) -> Features:
        return images.reshape(len(images), -1).astype(np.float32)

    def chunks() -> Iterator[Features]:
        for some in _spans(len(train), dim):
            yield rows(np.asarray(train[some]))

    return Space("pixels", rows, chunks, np.arange(len(train)), dim**-0.5)


def feature_space(
    train: LazyImages,
    manifest: Mapping[str, Any],
    statistics: Path,
    reference: Statistics,
    device: torch.device,
    track: Callable[[Iterable[Any], str], Iterable[Any]],
) -> Space | str:
    """The features that the statistics are of, with the rows of training images that lie beside them.

    Args:
        train: the training images.
        manifest: of the prepared images.
        statistics: the file of `reference`.
        device: where the network runs.
        track: wraps the loop over images that are put through it.

    Returns:
        The space, or in a few words why there is none here.

    Raises:
        ValueError: the file of features is not the one that the statistics are of.
    """
    name = reference.identity["features"]
    if not EXTRACTORS[name].weights:
        return f"the reference's features are {name}, too"
    real = load_real(statistics, reference)
    if real is None:
        return f"the reference has moments of {name} features only"
    if reference.identity["data_sha256"] != manifest["splits"]["train"]["sha256"]:
        return f"the reference's {name} features are not of the training images"
    try:
        extractor = build_extractor(name, weights=None, download=False, device=device)
    except ValueError:
        return f"the network of the reference's {name} features was not there"
    dim = len(reference.mean)

    def chunks() -> Iterator[Features]:
        for some in _spans(len(real), dim):
            yield real[some]

    return Space(name, lambda images: _extracted(extractor, images, dim, track), chunks, image_set(train).order, 1.0)


def nearest_training(space: Space, images: StoredImages, neighbors: int) -> Neighborhood:
    """Find the nearest training images; the training set is gone through once.

    Args:
        images: uint8 (images, height, width, channels), shaped like the training images.
        neighbors: k, at most the number of training images.
    """
    rows = space.rows(images)
    with one_thread():
        distances, numbers = k_nearest(rows, space.train(), neighbors)
    return Neighborhood(space.scale * distances, space.order[numbers])


def _extracted(
    extractor: Extractor, images: StoredImages, dim: int, track: Callable[[Iterable[Any], str], Iterable[Any]]
) -> Features:
    """Rows from blocks of one size, filled up with the last image: kernels round otherwise for another size."""
    parts = []
    for first in track(range(0, len(images), CPU_BLOCK), "blocks of images"):
        numbers = np.minimum(np.arange(first, first + CPU_BLOCK), len(images) - 1)
        parts.append(extractor.extract(images[numbers])[: len(images) - first, :dim])
    return np.concatenate(parts)


def _spans(count: int, dim: int) -> Iterator[slice]:
    """Consecutive parts of so many rows of float32."""
    step = max(CHUNK_BYTES // (4 * dim), 1)
    return (slice(first, first + step) for first in range(0, count, step))
