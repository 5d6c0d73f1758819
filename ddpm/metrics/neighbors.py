"""The k nearest of many rows that come in chunks: all pairs are never held, nor all rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.metrics.rows import check_widths, checked_rows

Rows = NDArray[np.floating[Any]]
SPARE = 4  # candidates of a chunk beyond k: products in float32 may confuse rows that are almost equally far


def k_nearest(rows: Rows, chunks: Iterable[Rows], neighbors: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest rows of some chunks to each row, by Euclidean distance, the nearest first.

    Candidates are found by |x|^2 + |y|^2 - 2 x.y in the precision of the rows; the distances to them are computed from
    differences in float64, so that of a copy is exactly 0. Of equally near ones the first comes first.

    Args:
        rows: (images, dim), float32 or float64; held as a whole.
        chunks: (some, dim) alike, one after the other.
        neighbors: k, at least 1.

    Returns:
        Distances (images, k), and the numbers of the neighbors, counted over all chunks (images, k).

    Raises:
        ValueError: features that do not fit, or fewer than k rows in all chunks.
    """
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1, got {neighbors}")
    rows = checked_rows("rows", rows)
    center = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    centered = rows - center
    best = np.full((len(rows), neighbors), np.inf)
    found = np.full((len(rows), neighbors), -1, dtype=np.int64)
    first = 0
    for chunk in chunks:
        chunk = checked_rows("chunk", chunk)
        check_widths(rows=rows, chunk=chunk)
        candidates = _candidates(centered, chunk - center, neighbors + SPARE)
        distances = np.stack([_distances(rows, chunk[column]) for column in candidates.T], axis=1)
        best, found = _smallest(
            np.concatenate([best, distances], axis=1), np.concatenate([found, first + candidates], axis=1), neighbors
        )
        first += len(chunk)
    if first < neighbors:
        raise ValueError(f"neighbors must be at most the {first} rows that there are, got {neighbors}")
    return best, found


def _candidates(rows: Rows, chunk: Rows, count: int) -> NDArray[np.int64]:
    """Which rows of the chunk are nearest to each row, (images, at most count), in any order."""
    squared = np.einsum("ij,ij->i", chunk, chunk) - 2 * (rows @ chunk.T)  # |x|^2 does not change the order
    count = min(count, len(chunk))
    return np.argpartition(squared, count - 1, axis=1)[:, :count].astype(np.int64)


def _distances(rows: Rows, others: Rows) -> NDArray[np.float64]:
    difference = rows.astype(np.float64) - others
    distances: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def _smallest(
    distances: NDArray[np.float64], numbers: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The `count` smallest of each line, sorted by distance, then by number."""
    order = np.lexsort((numbers, distances), axis=1)[:, :count]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(numbers, order, axis=1)
