"""Sheets of many images: rows x columns cells, with lines of padding around and between them.

The layout is that of `torchvision.utils.make_grid`, in which most programs store what they sampled: cells in reading
order, the first at (padding, padding).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LINE_TOLERANCE = 16.0
"""Mean distance of the pixels of padding from their median: JPEG at quality 50 leaves 7, other lines have 70."""

BLANK_TOLERANCE = 4.0
"""Mean distance of an empty cell from the color of the padding in a lossy sheet, at quality 50 and above."""


@dataclass(frozen=True)
class Grid:
    """How a sheet is divided."""

    rows: int
    columns: int
    padding: int
    """Pixels around and between the cells."""
    height: int
    """Of a cell."""
    width: int

    def sheet_shape(self, channels: int) -> tuple[int, int, int]:
        """(height, width, channels) of a full sheet."""
        high, wide = self.height + self.padding, self.width + self.padding
        return self.rows * high + self.padding, self.columns * wide + self.padding, channels


def divide(place: str, sheet: tuple[int, int], grid: tuple[int, int], padding: int) -> Grid:
    """Derive the cells of a sheet.

    cell height = (height - padding) / rows - padding, and so across

    Args:
        place: what is divided, for the message.
        sheet: height and width in pixels.
        grid: rows and columns, each at least 1.

    Raises:
        ValueError: the cells would not be whole pixels, or a number is out of range.
    """
    if min(grid) < 1 or padding < 0:
        raise ValueError(
            f"{place}: a grid must have at least 1 row, 1 column and padding 0, "
            f"got {grid[0]}x{grid[1]} and padding {padding}; count them on the sheet"
        )
    (high, rest_high), (wide, rest_wide) = (
        divmod(side - padding, count) for side, count in zip(sheet, grid, strict=True)
    )
    if rest_high or rest_wide or min(high, wide) <= padding:
        raise ValueError(
            f"{place}: a sheet must divide into {grid[0]}x{grid[1]} cells with padding {padding}, "
            f"got {sheet[0]}x{sheet[1]} pixels; give the rows, columns and padding that the sheet has"
        )
    return Grid(grid[0], grid[1], padding, high - padding, wide - padding)


def shorter(place: str, sheet: tuple[int, int], full: Grid) -> Grid:
    """The grid of a last sheet that has fewer rows, or fewer columns, of the same cells.

    torchvision gives a single image no padding at all.

    Raises:
        ValueError: the sheet does not consist of such cells.
    """
    if sheet == (full.height, full.width):
        return Grid(1, 1, 0, full.height, full.width)
    (rows, rest_high), (columns, rest_wide) = (
        divmod(side - full.padding, cell + full.padding)
        for side, cell in zip(sheet, (full.height, full.width), strict=True)
    )
    if rest_high or rest_wide or not (1 <= rows <= full.rows and 1 <= columns <= full.columns):
        raise ValueError(
            f"{place}: the last sheet must have up to {full.rows}x{full.columns} cells of {full.height}x{full.width}, "
            f"got {sheet[0]}x{sheet[1]} pixels; move it out of the folder"
        )
    return Grid(rows, columns, full.padding, full.height, full.width)


def cut(sheet: Pixels, grid: Grid) -> Pixels:
    """The cells of a sheet in reading order, (rows * columns, cell height, cell width, channels)."""
    inner = sheet[grid.padding :, grid.padding :]
    high, wide = grid.height + grid.padding, grid.width + grid.padding
    cells = inner.reshape(grid.rows, high, grid.columns, wide, -1)[:, : grid.height, :, : grid.width]
    return cells.swapaxes(1, 2).reshape(-1, grid.height, grid.width, sheet.shape[2])


def lay(cells: Pixels, grid: Grid, color: int) -> Pixels:
    """Lay cells on a sheet in reading order: `cut` backwards; missing cells keep the color of the padding.

    Args:
        cells: up to rows * columns of (cell height, cell width, channels).
        color: of the padding in every channel, 0..255.
    """
    sheet = np.full(grid.sheet_shape(cells.shape[3]), color, dtype=np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, grid.columns)
        top = grid.padding + row * (grid.height + grid.padding)
        left = grid.padding + column * (grid.width + grid.padding)
        sheet[top : top + grid.height, left : left + grid.width] = cell
    return sheet


def padding_color(place: str, sheet: Pixels, grid: Grid) -> Pixels | None:
    """The color of the padding, (channels,), or None where there is none.

    Raises:
        ValueError: the lines where padding should be show a picture: the sheet is divided otherwise.
    """
    if grid.padding == 0:
        return None
    lines = np.ones(sheet.shape[:2], dtype=bool)
    for number in range(grid.rows * grid.columns):
        row, column = divmod(number, grid.columns)
        top = grid.padding + row * (grid.height + grid.padding)
        left = grid.padding + column * (grid.width + grid.padding)
        lines[top : top + grid.height, left : left + grid.width] = False
    pixels = sheet[lines]
    color: Pixels = np.median(pixels, axis=0).astype(np.uint8)
    distance = _distance(pixels, color)
    if distance > LINE_TOLERANCE:
        raise ValueError(
            f"{place}: the lines between {grid.rows}x{grid.columns} cells must have one color, got pixels that "
            f"differ by {distance:.0f} of 255 on average; give the rows, columns and padding that the sheet has"
        )
    return color


def num_empty(cells: Pixels, color: Pixels | None, *, lossy: bool) -> int:
    """How many cells at the end hold nothing but the color of the padding.

    Args:
        cells: of the last sheet, in reading order.
        color: of the padding; None takes the very last pixel for it.
        lossy: whether compression has touched the sheet: cells then count as empty that nearly have the color.
    """
    color = cells[-1, -1, -1] if color is None else color
    for count, cell in enumerate(cells[::-1]):
        empty = _distance(cell, color) <= BLANK_TOLERANCE if lossy else bool((cell == color).all())
        if not empty:
            return count
    return len(cells)


def _distance(pixels: Pixels, color: Pixels) -> float:
    return float(np.abs(pixels.astype(np.int16) - color).mean())
