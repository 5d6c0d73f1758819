"""Features that are computed once: a file for each part of a set, named by what decides its content."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.engine.features import one_thread
from ddpm.experiment.workspace import atomic_path
from ddpm.metrics.frechet import frechet_distance
from ddpm.metrics.moments import Moments, moments

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
PART_IMAGES = 250
BATCH = 25
"""Images of one evaluation; it divides a part, since kernels of a CPU round otherwise for other batches."""


@dataclass
class Kept:
    """Features on the disk; a run that was stopped goes on with the first part that is missing.

    Attributes:
        extract: uint8 NHWC images to features.
        about: whatever else decides the features: weights, family, device.
        folder: of the files.
        computed: images that were not found there.
    """

    extract: Callable[[Pixels], Rows]
    about: str
    folder: Path
    computed: int = field(default=0, init=False)

    def rows(self, images: Pixels, name: str) -> Rows:
        """The features of images in their order, (images, dim); `name` is for the reader of file names."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = [self._part(images[first : first + PART_IMAGES], name) for first in range(0, len(images), PART_IMAGES)]
        print(f"{name}: {len(images):,} images", file=sys.stderr, flush=True)
        return np.concatenate(parts)

    def _part(self, images: Pixels, name: str) -> Rows:
        digest = hashlib.sha256(repr((self.about, images.shape, BATCH)).encode())
        digest.update(np.ascontiguousarray(images).tobytes())
        path = self.folder / f"{name}-{digest.hexdigest()[:32]}.npy"
        if not path.is_file():
            rows = np.concatenate([self.extract(batch) for batch in _batches(images)])
            self.computed += len(images)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, rows, allow_pickle=False)
        found: Rows = np.load(path, allow_pickle=False)
        return found


def _batches(images: Pixels) -> Iterator[Pixels]:
    for first in range(0, len(images), BATCH):
        yield images[first : first + BATCH]


def gaussian(rows: Rows) -> Moments:
    """Mean and scatter of features, as `ddpm evaluate` computes them."""
    with one_thread():
        return moments([rows])


def distance(rows: Rows, reference: Moments) -> float:
    """Frechet distance of features from a reference."""
    found = gaussian(rows)
    with one_thread():
        return frechet_distance(found.mean, found.covariance(), reference.mean, reference.covariance())
