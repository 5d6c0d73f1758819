"""Features of many images: extracted by all processes into one array on disk, reduced from there in one order."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ddpm.engine.distributed import Team
from ddpm.engine.rows import Tick, fill_rows
from ddpm.metrics.features import Extractor
from ddpm.metrics.images import Features, StoredImages
from ddpm.metrics.moments import BLOCK_IMAGES, Moments, moments


def stored_features(
    images: StoredImages, extractor: Extractor, batch: int, folder: Path, name: str, team: Team, tick: Tick
) -> Features:
    """The features of images as a read-only memory map, going on where an earlier call was stopped.

    Args:
        images: uint8 NHWC, at least one.
        batch: images per network evaluation.
        folder: where the array is kept while the stage works.
        name: of the images in that folder. The name of the file also holds the extractor and its weights: rows of
            other weights are never taken for these.

    Returns:
        (images, dim) float32, in every process.

    Raises:
        ValueError: images that the extractor refuses.
    """
    dim = extractor.dim or extractor.extract(np.ascontiguousarray(images[:1])).shape[1]
    stem = f"{name}-{extractor.name}-{(extractor.weights_sha256 or 'no weights')[:16]}"
    path = folder / f"{stem}.npy"

    def compute(first: int, last: int) -> tuple[Features, int]:
        return extractor.extract(np.ascontiguousarray(images[first:last])), 1

    marks = folder / f"{stem}-done.npy"
    fill_rows(path, marks, (len(images), dim), np.float32, batch, compute, team, tick)
    rows: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def feature_moments(rows: Features) -> Moments:
    """Mean and scatter of stored features; a block at a time is in memory."""

    def blocks() -> Iterator[NDArray[np.float32]]:
        for first in range(0, len(rows), BLOCK_IMAGES):
            yield rows[first : first + BLOCK_IMAGES]

    with one_thread():
        return moments(blocks())


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra of numpy on one thread, as context: on several, the last bits depend on how many there are.

    A process has fewer threads when it shares the cores with others, and its metrics shall have the same bytes.
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
