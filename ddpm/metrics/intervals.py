"""How far a Fréchet distance would move with other samples of the same net.

Drawing images with replacement, the usual bootstrap, would not do. The estimate from N images is too high by about
c / N. A draw from those images is too high by c / N once more, so the distances of such draws lie above the one that
they are to surround, often all of them. Leaving out a group changes N by a known little, alike for all groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ddpm.metrics.frechet import Gaussian, frechet_between, gaussian
from ddpm.metrics.moments import BLOCK_IMAGES, Moments, moments
from ddpm.metrics.rows import checked_rows

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A distance and its 95 % interval.

    Args:
        distance: of all rows.
        low: 0 or more; high alike. They surround what N images score, not what infinitely many would.
        standard_error: standard deviation of the distance over other draws of as many images.
    """

    distance: float
    low: float
    high: float
    standard_error: float


def frechet_interval(rows: NDArray[np.floating[Any]], reference: Gaussian, *, groups: int) -> Interval:
    """Interval of the Fréchet distance by the delete-a-group jackknife (Kott 2001; Shao and Tu 1995, sec. 2.3).

    variance = (G - 1) / G sum_g (d_g - mean d)^2, interval = d +- t_{G-1} sqrt(variance),
    where d_g is the distance of all rows but g, g + G, g + 2 G, ...

    The reference counts as known: its own sampling is not part of the interval. Moments of the rest are those of all
    less the group's, so that rows are read twice, whatever G is; each group costs one distance.

    Args:
        rows: (images, dim), float32 or float64, in an order independent of their files, so that strides are random
            subsets.
        reference: what they are compared with, from `gaussian`.
        groups: G, at least 2 and at most half the images; 10 make the interval 14 % wider than infinitely many would.

    Raises:
        ValueError: features that do not fit, or too few images for the groups.
    """
    if groups < 2:
        raise ValueError(f"groups must be at least 2, got {groups}")
    rows = checked_rows("rows", rows, 2 * groups)
    total = moments(rows[start : start + BLOCK_IMAGES] for start in range(0, len(rows), BLOCK_IMAGES))
    distance = _distance(total, reference)
    rests = np.array([_distance(total.without(moments([rows[g::groups]])), reference) for g in range(groups)])
    spread = float(((rests - rests.mean()) ** 2).sum())
    standard_error = float(np.sqrt((groups - 1) / groups * spread))
    half = float(stdtrit(groups - 1, 0.5 + CONFIDENCE / 2)) * standard_error
    return Interval(distance, max(distance - half, 0.0), distance + half, standard_error)


def _distance(found: Moments, reference: Gaussian) -> float:
    return frechet_between(gaussian(found.mean, found.covariance()), reference)
