"""Nearest neighbors among features: improved precision and recall, and the nearest image of another set.

Squared distances come from matrix products, |x|^2 + |y|^2 - 2 x.y, a tile at a time; all pairs are never held. Rows are
centered first: distances do not change, and the products lose less to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.metrics.rows import check_widths, checked_rows

TILE_ROWS = 2048  # 16 MiB of float32 distances, where the product is far more work than what follows it

Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Cloud:
    """Rows, the point they are centered at, and the precision of their products: that of the rows."""

    rows: Rows
    center: Rows

    def starts(self) -> range:
        return range(0, len(self.rows), TILE_ROWS)

    def tile(self, start: int) -> tuple[Rows, Rows]:
        """Centered rows (tile, dim) and their squared norms (tile,)."""
        centered: Rows = self.rows[start : start + TILE_ROWS] - self.center
        return centered, np.einsum("ij,ij->i", centered, centered)


def precision_recall(samples: Rows, reference: Rows, *, neighbors: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    precision = share of samples within the k-nearest-neighbor radius of some reference image; recall: the other way

    Args:
        samples: (images, dim), float32 or float64; reference alike. Products are computed in their precision.
        neighbors: k, 1 or more; the radius of an image is the distance to its k-th nearest among its own.

    Returns:
        (precision, recall), each in [0, 1].

    Raises:
        ValueError: features that do not fit, or a set without k neighbors.
    """
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1, got {neighbors}")
    samples = checked_rows("samples", samples, neighbors + 1)
    reference = checked_rows("reference", reference, neighbors + 1)
    drawn, real = _clouds(samples=samples, reference=reference)
    drawn_radii, real_radii = _squared_radii(drawn, neighbors), _squared_radii(real, neighbors)
    precise, recalled = np.zeros(len(samples), dtype=bool), np.zeros(len(reference), dtype=bool)
    for row in drawn.starts():
        rows = slice(row, row + TILE_ROWS)
        tile = drawn.tile(row)
        for column in real.starts():
            columns = slice(column, column + TILE_ROWS)
            squared = _squared_distances(tile, real.tile(column))
            precise[rows] |= (squared <= real_radii[columns]).any(axis=1)
            recalled[columns] |= (squared <= drawn_radii[rows, None]).any(axis=0)
    return float(precise.mean()), float(recalled.mean())


def nearest(rows: Rows, among: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The nearest of some rows to each row, by Euclidean distance.

    Args:
        rows: (images, dim), float32 or float64; among alike.

    Returns:
        Distances (images,), and which row of `among` it is (images,). The neighbor is found with products in the
        precision of the rows; the distance to it is then computed from their difference in float64, so that of a copy
        is exactly 0.

    Raises:
        ValueError: features that do not fit.
    """
    rows, among = checked_rows("rows", rows), checked_rows("among", among)
    asking, answering = _clouds(rows=rows, among=among)
    found = np.zeros(len(rows), dtype=np.int64)
    distances = np.empty(len(rows))
    for start in asking.starts():
        here = slice(start, start + TILE_ROWS)
        tile = asking.tile(start)
        best = np.full(len(tile[0]), np.inf)
        for column in answering.starts():
            squared = _squared_distances(tile, answering.tile(column))
            index = squared.argmin(axis=1)
            value = np.take_along_axis(squared, index[:, None], axis=1)[:, 0]
            nearer = value < best
            found[here][nearer] = column + index[nearer]
            best[nearer] = value[nearer]
        difference = rows[here].astype(np.float64) - among[found[here]]
        distances[here] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances, found


def _clouds(**sets: Rows) -> tuple[_Cloud, _Cloud]:
    """Two sets of one dim, centered at the mean of the second."""
    check_widths(**sets)
    first, second = sets.values()
    dtype = np.result_type(first, second)
    center = second.mean(axis=0, dtype=np.float64).astype(dtype)
    return _Cloud(first, center), _Cloud(second, center)


def _squared_distances(first: tuple[Rows, Rows], second: tuple[Rows, Rows]) -> Rows:
    """(rows, columns) of squared distances between two tiles; rounding below 0 is 0."""
    (rows, row_norms), (columns, column_norms) = first, second
    squared: Rows = rows @ columns.T
    squared *= -2.0
    squared += row_norms[:, None]
    squared += column_norms
    return np.maximum(squared, 0.0, out=squared)


def _squared_radii(cloud: _Cloud, neighbors: int) -> Rows:
    """Squared distance of each row to its k-th nearest other row; each pair of tiles is multiplied once."""
    kept = np.full((len(cloud.rows), neighbors), np.inf, dtype=cloud.center.dtype)
    for row in cloud.starts():
        tile = cloud.tile(row)
        for column in range(row, len(cloud.rows), TILE_ROWS):
            squared = _squared_distances(tile, tile if column == row else cloud.tile(column))
            if column == row:
                np.fill_diagonal(squared, np.inf)  # a row is no neighbor of itself
            else:
                _keep_smallest(kept[column : column + TILE_ROWS], squared.T)
            _keep_smallest(kept[row : row + TILE_ROWS], squared)
    radii: Rows = kept.max(axis=1)
    return radii


def _keep_smallest(kept: Rows, candidates: Rows) -> None:
    """Replace the k values of each row by the k smallest of those and the candidates."""
    k = kept.shape[1]
    kept[:] = np.partition(np.concatenate([kept, candidates], axis=1), k - 1, axis=1)[:, :k]
