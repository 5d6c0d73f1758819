"""What every metric asks of the features it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 4096  # looked at together, so that a check needs no second array as large as the first


def checked_rows(name: str, rows: NDArray[np.floating[Any]], at_least: int = 1) -> NDArray[np.floating[Any]]:
    """The same rows, found to be features of enough images.

    Args:
        name: how the message calls them.
        rows: (images, dim), float32 or float64, all finite; may be a memory map.
        at_least: the smallest number of images that will do.

    Raises:
        ValueError: another shape or type, values that are not finite, or too few images.
    """
    array = np.asarray(rows)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have shape (images, dim), got {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be float32 or float64, got {array.dtype}: convert them")
    if len(array) < at_least:
        raise ValueError(f"{name} must hold at least {at_least} image(s), got {len(array)}: give more images")
    for start in range(0, len(array), BLOCK_ROWS):
        if not np.isfinite(array[start : start + BLOCK_ROWS]).all():
            raise ValueError(f"{name} must be finite, got NaN or infinite values in rows {start} and later")
    return array


def check_widths(**rows: NDArray[np.floating[Any]]) -> None:
    """Refuse sets of features that differ in dim.

    Args:
        rows: (images, dim) each, under the names that the message calls them by.

    Raises:
        ValueError: they disagree in dim.
    """
    widths = {name: array.shape[1] for name, array in rows.items()}
    if len(set(widths.values())) > 1:
        found = " and ".join(f"{name} {width}" for name, width in widths.items())
        raise ValueError(f"features must agree in dim, got {found}: extract them with one network")
