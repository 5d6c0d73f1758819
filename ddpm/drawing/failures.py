"""Strips of one image under several processes, each beside what happens to its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.grid import as_picture, lay_out
from ddpm.drawing.look import BLUE, INK, MUTED, ORANGE, as_image, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES, STRIP_SHARE = 7.6, 0.72
TILE_PIXELS = 128  # at least, before the page scales it: squares stay square


@dataclass(frozen=True)
class Row:
    """One process.

    Attributes:
        title: its name.
        said: what it did, in numbers; one or two lines of up to 75 letters.
        tiles: uint8 (columns, height, width, 1 or 3), the image on its way.
        std: of the values of x_t, for t = 0..T.
        signal: what multiplies x0 in x_t.
    """

    title: str
    said: str
    tiles: NDArray[np.uint8]
    std: NDArray[np.float64]
    signal: NDArray[np.float64]


def failures(rows: Sequence[Row], times: Sequence[int]) -> Image.Image:
    """Draw the rows under each other; `times` are the steps of the columns, the same for all."""
    columns, height, width, _ = rows[0].tiles.shape
    strip_inches = WIDTH_INCHES * STRIP_SHARE / columns * height / width
    text_inches = 0.95  # title, two lines and the steps
    most = max(float(row.std.max()) for row in rows)
    with page(WIDTH_INCHES, len(rows) * (max(strip_inches, 0.55) + text_inches) + 0.3) as figure:
        grid = figure.subplots(len(rows), 2, width_ratios=[STRIP_SHARE, 1 - STRIP_SHARE], squeeze=False)
        for number, (row, (left, right)) in enumerate(zip(rows, grid, strict=True)):
            draw_strip(left, row, times)
            draw_numbers(right, row, most, named=number == 0, last=number == len(rows) - 1)
        figure.get_layout_engine().set(rect=(0, 0, 1, 0.985))  # type: ignore[union-attr, call-arg]  # the first title
        return as_image(figure)


def draw_strip(axes: Axes, row: Row, times: Sequence[int]) -> None:
    """The tiles with their steps below, the title and what is said above."""
    columns, _, width, _ = row.tiles.shape
    zoom = -(-TILE_PIXELS // width)
    sheet = as_picture(lay_out(row.tiles, columns, zoom, zoom)).convert("RGB")
    axes.imshow(np.asarray(sheet), interpolation="antialiased")
    axes.set_title(row.title, pad=29)  # room for two lines
    said = axes.annotate(row.said, (0, 1), (0, 4), "axes fraction", "offset points", color=INK, fontsize=8.5)
    said.set_in_layout(False)  # a line longer than the strip would make the strip narrow
    axes.set_xticks([zoom + (column + 0.5) * width * zoom + column * zoom for column in range(columns)])
    axes.set_xticklabels([f"t = {t}" if t == 0 else str(t) for t in times], fontsize=8)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)


def draw_numbers(axes: Axes, row: Row, most: float, named: bool, last: bool) -> None:
    """Standard deviation and signal over t; the dotted line is where x_T should end."""
    t = np.arange(len(row.std))
    axes.axhline(1, color=MUTED, linewidth=0.9, linestyle=":")
    axes.plot(t, row.std, color=BLUE, linewidth=1.6)
    axes.plot(t, row.signal, color=ORANGE, linewidth=1.6, linestyle="--")
    axes.set_xlim(0, t[-1])
    axes.set_ylim(0, 1.1 * most)
    axes.set_xticks([0, t[-1] // 2, t[-1]])
    axes.tick_params(labelsize=8)
    if named:
        for height, text, color in ((0.92, "std of x_t", BLUE), (0.76, "signal left in x_t", ORANGE)):
            axes.text(0.03, height, text, color=color, fontsize=8.5, transform=axes.transAxes, va="center")
        axes.text(t[-1], 1.06, "N(0, 1)", color=MUTED, fontsize=8, ha="right", va="bottom")
    if last:
        axes.set_xlabel("t (noising steps)", fontsize=8.5)
