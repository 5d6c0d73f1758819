"""The Fréchet distance that infinitely many samples would have (Chong and Forsyth 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.metrics.frechet import Gaussian, frechet_between, gaussian
from ddpm.metrics.moments import BLOCK_IMAGES, Moments
from ddpm.metrics.rows import checked_rows

EXTRAPOLATE_FROM = 5_000  # with fewer images the bias of Inception features is no straight line in 1 / N


@dataclass(frozen=True)
class Extrapolated:
    """A line through distances over 1 / N.

    Args:
        value: where it meets 1 / N = 0; can be slightly below 0.
        slope: how the bias grows, in distance times images.
        standard_error: of the value, from the departures of the distances from the line. Prefixes share images, so it
            tells how straight the line is, not how another draw of samples would move it.
    """

    value: float
    slope: float
    standard_error: float


def counts(num_images: int, points: int, smallest: int) -> list[int]:
    """Numbers of images to measure at, from the smallest to all, evenly spaced in 1 / N.

    The line is fitted over 1 / N: even spacing there shows a bend anywhere along it. Even spacing in N would put most
    points at its left end, where they share most of their images and say the same.

    Args:
        num_images: how many there are; the last count.
        points: how many counts, 3 or more.
        smallest: the first count, 2 or more.

    Raises:
        ValueError: fewer than 3 points, or too few images between the smallest count and all of them.
    """
    if points < 3 or smallest < 2:
        raise ValueError(f"counts need 3 points from 2 images on, got {points} points from {smallest} images on")
    found = [round(1.0 / x) for x in np.linspace(1.0 / smallest, 1.0 / max(num_images, 1), points)]
    if any(later <= earlier for earlier, later in pairwise(found)):
        raise ValueError(
            f"{points} counts from {smallest} images on must grow, got {num_images} images in all: evaluate more images"
        )
    return found


def distances_by_count(rows: NDArray[np.floating[Any]], counts: Sequence[int], reference: Gaussian) -> list[float]:
    """Fréchet distances of the first rows, for several numbers of them; each equals that of `moments` to the bit.

    Args:
        rows: (images, dim), float32 or float64, in an order independent of their files, so that prefixes are random
            subsets.
        counts: growing, from 2 to len(rows). Each extends the moments of the one before.
        reference: what they are compared with, from `gaussian`.

    Raises:
        ValueError: counts that do not grow from 2 to len(rows), or features that do not fit.
    """
    rows = checked_rows("rows", rows, 2)
    if not counts or any(b <= a for a, b in zip([1, *counts], [*counts, len(rows) + 1], strict=True)):
        raise ValueError(f"counts must grow from 2 to at most {len(rows)}, the number of rows, got {list(counts)}")
    distances = []
    whole: Moments | None = None  # of all whole blocks so far, as `moments` cuts them
    done = 0
    for count in counts:
        while done + BLOCK_IMAGES <= count:
            whole = _extended(whole, rows[done : done + BLOCK_IMAGES])
            done += BLOCK_IMAGES
        prefix = _extended(whole, rows[done:count])
        distances.append(frechet_between(gaussian(prefix.mean, prefix.covariance()), reference))
    return distances


def at_infinity(counts: Sequence[int], distances: Sequence[float]) -> Extrapolated:
    """Extrapolate to infinitely many samples by least squares (Chong and Forsyth 2020, sec. 4: FID infinity).

    distance = value + slope / N

    The bias from the number of reference images is the same at every count and stays.

    Args:
        counts: at least 3, all different, none below `EXTRAPOLATE_FROM`.
        distances: one for each count, finite.

    Raises:
        ValueError: too few or too small counts, or distances that do not fit.
    """
    images, found = np.asarray(counts, dtype=np.float64), np.asarray(distances, dtype=np.float64)
    if images.ndim != 1 or found.shape != images.shape or not np.isfinite(found).all():
        raise ValueError(f"one finite distance is needed for each count, got shapes {images.shape} and {found.shape}")
    if len(set(counts)) != len(counts) or len(counts) < 3:
        raise ValueError(f"a line with its error needs at least 3 different counts, got {list(counts)}")
    if min(counts) < EXTRAPOLATE_FROM:
        raise ValueError(
            f"counts to extrapolate from must be at least {EXTRAPOLATE_FROM}, got {min(counts)}: evaluate more images"
        )
    inverse = 1.0 / images
    centered = inverse - inverse.mean()
    spread = float(centered @ centered)
    slope = float(centered @ (found - found.mean())) / spread
    value = float(found.mean()) - slope * float(inverse.mean())
    departures = found - value - slope * inverse
    variance = float(departures @ departures) / (len(counts) - 2)
    standard_error = float(np.sqrt(variance * (1.0 / len(counts) + float(inverse.mean()) ** 2 / spread)))
    return Extrapolated(value, slope, standard_error)


def _extended(total: Moments | None, rows: NDArray[np.floating[Any]]) -> Moments:
    """Moments with some more rows, of which there may be none once there is a total."""
    if total is not None and len(rows) == 0:
        return total
    part = Moments.of_block(rows)
    return part if total is None else total.merge(part)
