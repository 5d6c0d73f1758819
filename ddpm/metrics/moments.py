"""Mean and covariance of features, streamed in float64 and never held as one array.

Float32 sums lose the covariance of 28,000 images in rounding, and a sum whose blocks follow the extraction batch
would change with the batch size. So rows are cut into blocks of 256 whatever size they arrive in, each block is
centered in float64, and blocks are merged as Chan, Golub and LeVeque 1979 do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_IMAGES = 256


@dataclass(frozen=True)
class Moments:
    """The first two moments of some feature rows.

    Args:
        num_images: how many rows went in; all of them count once.
        mean: (dim,) float64.
        scatter: (dim, dim) float64, sum over rows of (row - mean)(row - mean)^T.
    """

    num_images: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]

    @classmethod
    def of_block(cls, features: NDArray[np.floating[Any]]) -> Moments:
        """Moments of one block of rows, centered before they are squared.

        Args:
            features: (images, dim), any float type, all finite.

        Raises:
            ValueError: not two-dimensional, empty, or not finite.
        """
        rows = np.asarray(features, dtype=np.float64)
        if rows.ndim != 2 or rows.size == 0:
            raise ValueError(f"features must have shape (images, dim) and hold at least one image, got {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError(f"features must be finite, got {int((~np.isfinite(rows)).sum())} NaN or infinite values")
        mean = rows.mean(axis=0)
        centered = rows - mean
        return cls(len(rows), mean, centered.T @ centered)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub and LeVeque 1979, eq. 2.1).

        scatter = scatter_a + scatter_b + (n_a n_b / n) (mean_b - mean_a)(mean_b - mean_a)^T

        Raises:
            ValueError: the two differ in dimension.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features to merge must agree in dim, got {len(self.mean)} and {len(other.mean)}")
        num_images = self.num_images + other.num_images
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.num_images / num_images)
        between = np.outer(shift, shift * (self.num_images * other.num_images / num_images))
        return Moments(num_images, mean, self.scatter + other.scatter + between)

    def without(self, part: Moments) -> Moments:
        """Moments of the rows that are left when some of them go, the inverse of `merge`.

        scatter = scatter_total - scatter_part - (n_part n / n_rest) (mean_part - mean)(mean_part - mean)^T

        Args:
            part: moments of rows that all went into this one.

        Raises:
            ValueError: the two differ in dimension, or no row would be left.
        """
        if self.mean.shape != part.mean.shape:
            raise ValueError(f"features to take out must agree in dim, got {len(self.mean)} and {len(part.mean)}")
        num_images = self.num_images - part.num_images
        if num_images < 1:
            raise ValueError(f"at least 1 image must be left, got {part.num_images} taken out of {self.num_images}")
        shift = part.mean - self.mean
        mean = self.mean - shift * (part.num_images / num_images)
        between = np.outer(shift, shift * (part.num_images * self.num_images / num_images))
        return Moments(num_images, mean, self.scatter - part.scatter - between)

    def covariance(self) -> NDArray[np.float64]:
        """Unbiased covariance, scatter / (num_images - 1), as `numpy.cov` has it; (dim, dim) float64.

        Raises:
            ValueError: fewer than 2 images.
        """
        if self.num_images < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {self.num_images}: evaluate more images")
        return self.scatter / (self.num_images - 1)


def moments(features: Iterable[NDArray[np.floating[Any]]]) -> Moments:
    """Moments of a stream of feature batches; the sizes of the batches cannot change a bit of the result.

    Args:
        features: batches of (images, dim), in the order of the images.

    Raises:
        ValueError: fewer than 2 images in all, batches that disagree in dim, or values that are not finite.
    """
    total: Moments | None = None
    for block in _blocks(features):
        part = Moments.of_block(block)
        total = part if total is None else total.merge(part)
    if total is None or total.num_images < 2:
        raise ValueError(f"moments need at least 2 images, got {total.num_images if total else 0}: give more images")
    return total


def _blocks(features: Iterable[NDArray[np.floating[Any]]]) -> Iterator[NDArray[np.floating[Any]]]:
    """Cut a stream of batches into blocks of exactly BLOCK_IMAGES rows; the last one may be shorter."""
    waiting: list[NDArray[np.floating[Any]]] = []
    num_waiting = 0
    for batch in features:
        rows = np.asarray(batch)
        if waiting and rows.shape[1:] != waiting[0].shape[1:]:
            raise ValueError(f"feature batches must agree in dim, got {waiting[0].shape[1:]} and {rows.shape[1:]}")
        waiting.append(rows)
        num_waiting += len(rows)
        if num_waiting >= BLOCK_IMAGES:
            together = np.concatenate(waiting)
            num_whole = num_waiting // BLOCK_IMAGES * BLOCK_IMAGES
            for start in range(0, num_whole, BLOCK_IMAGES):
                yield together[start : start + BLOCK_IMAGES]
            waiting = [together[num_whole:]]
            num_waiting -= num_whole
    if num_waiting:
        yield np.concatenate(waiting)
