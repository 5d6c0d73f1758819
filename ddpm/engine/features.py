"""Features of many images: computed once, by all processes, into one array on disk; every metric reads from there.

Images are put into the order of their digests first. So neither features nor anything computed from them depends on the
order of the images, on how they were stored, or on the batch; and a prefix or every k-th row is a random subset.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ddpm.data.store import LazyImages
from ddpm.digest import file_sha256
from ddpm.engine.device import keep_heap
from ddpm.engine.distributed import Team
from ddpm.engine.rows import Tick, fill_rows
from ddpm.experiment.workspace import file_lock
from ddpm.metrics import features, images, inception, seed0
from ddpm.metrics.features import Extractor
from ddpm.metrics.images import Features, StoredImages, require_stored
from ddpm.metrics.moments import BLOCK_IMAGES, Moments, moments

CPU_BLOCK = 16
"""Images per evaluation of the network on a CPU, whose kernels round otherwise for another number."""
CODE = (features, images, inception, seed0)
"""What decides a feature, beside images and weights."""


@dataclass(frozen=True)
class ImageSet:
    """Images in the order of their digests.

    Attributes:
        images: uint8 NHWC, as they lie on the disk: an array, or encoded.
        order: (images,), int64; of equal images any may come first.
        sha256: of the digests in that order and of the shape: of the images as a set, however they are stored.
    """

    images: LazyImages
    order: NDArray[np.int64]
    sha256: str


def image_set(stored: LazyImages) -> ImageSet:
    """Find the order of images that depends on nothing but their pixels.

    Raises:
        ValueError: not uint8 (images, height, width, 1 or 3), or no image.
    """
    require_stored(cast(StoredImages, stored))  # it looks at type and shape alone, which encoded images have, too
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in stored]
    order = sorted(range(len(digests)), key=digests.__getitem__)
    whole = hashlib.sha256(repr(stored.shape).encode())
    for number in order:
        whole.update(digests[number])
    return ImageSet(stored, np.array(order, np.int64), whole.hexdigest())


def stored_features(
    some: ImageSet, extractor: Extractor, batch: int, folder: Path, name: str, team: Team, tick: Tick
) -> Features:
    """The features of images, in their order, as a read-only memory map; goes on where an earlier call was stopped.

    Args:
        some: at least one image.
        batch: images that are finished at once; on a CPU rounded up to whole blocks.
        folder: where the array is kept.
        name: of the images in that folder. The name of the file also holds the extractor and its weights: rows of
            other weights are never taken for these.

    Returns:
        (images, dim + num_logits) float32, in every process.

    Raises:
        ValueError: images that the extractor refuses.
    """
    block = batch
    if team.device.type == "cpu":
        keep_heap()
        block = CPU_BLOCK
    batch = -(-batch // block) * block

    def compute(first: int, last: int) -> tuple[Features, int]:
        parts = [_block(some, extractor, start, min(start + block, last), block) for start in range(first, last, block)]
        return np.concatenate(parts), 1

    stem = f"{name}-{extractor.name}-{(extractor.weights_sha256 or 'no weights')[:16]}"
    path, marks = folder / f"{stem}.npy", folder / f"{stem}-done.npy"
    width = _block(some, extractor, 0, 1, 1).shape[1] if extractor.kind.dim is None else None
    dim = width or (extractor.kind.dim or 0) + extractor.kind.num_logits
    fill_rows(path, marks, (len(some.order), dim), np.float32, batch, compute, team, tick)
    rows: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def _block(some: ImageSet, extractor: Extractor, first: int, last: int, block: int) -> Features:
    """Rows first..last-1, from a batch that is filled up to `block` images with the last one."""
    numbers = np.minimum(np.arange(first, first + block), last - 1)
    return extractor.extract(some.images[some.order[numbers]])[: last - first]


def kept_features(some: ImageSet, extractor: Extractor, batch: int, root: Path, team: Team, tick: Tick) -> Features:
    """The features of images from `work/features`, where they stay: computed once, for any number of metrics.

    The name of the file is a hash of the images, the extractor, its weights, its code, torch and the kind of device, so
    a change of any of these asks for another file. All of them may be deleted at any time.
    """
    code = [file_sha256(Path(module.__file__)) for module in CODE if module.__file__]
    about = [some.sha256, extractor.name, extractor.weights_sha256, code, torch.__version__, team.device.type]
    path = root / "work" / "features" / f"{hashlib.sha256(repr(about).encode()).hexdigest()[:32]}.npy"
    # another evaluation of the same images may be at it
    with file_lock(path.with_suffix(".lock")) if team.first else nullcontext():
        team.wait()
        if path.is_file():
            if team.first:
                tick(len(some.order))
        else:
            unfinished = path.with_name(f"{path.stem}-{batch}")
            if team.first:
                unfinished.mkdir(exist_ok=True)
            team.wait()
            rows = stored_features(some, extractor, batch, unfinished, "rows", team, tick)
            team.wait()  # all have opened them
            if team.first:
                os.replace(str(rows.filename), path)  # type: ignore[attr-defined]  # noqa: PTH105  (a memory map)
                shutil.rmtree(unfinished)
        team.wait()
    kept: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    return kept


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
