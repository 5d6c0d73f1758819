"""The energy distance between two sets of points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist


def energy_distance(samples: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]]) -> float:
    """D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'|, each a mean over pairs of different points (Szekely & Rizzo 2013).

    Unbiased: two sets of one density score about 0, as often slightly below as above. In the unit of the points.

    Args:
        samples: (points, dim), at least 2; reference alike.

    Raises:
        ValueError: sets that do not fit, or fewer than 2 points in one.
    """
    if samples.ndim != 2 or reference.ndim != 2 or samples.shape[1] != reference.shape[1]:
        raise ValueError(
            f"energy distance: both sets must be (points, dim) of one dim, got {samples.shape} and {reference.shape}"
        )
    if min(len(samples), len(reference)) < 2:
        raise ValueError(f"energy distance: needs 2 points a set, got {len(samples)} and {len(reference)}")
    first, second = samples.astype(np.float64), reference.astype(np.float64)
    return float(2 * cdist(first, second).mean() - pdist(first).mean() - pdist(second).mean())
