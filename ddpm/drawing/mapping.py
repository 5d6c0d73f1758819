"""How a reverse process on a line carries N(0, 1) to data: quantiles over t, and the densities at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.look import BLUE, INK, MUTED, ORANGE, as_image, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = NDArray[np.float64]
BINS = 80
PATHS = 7


@dataclass(frozen=True)
class Mapping:
    """One reverse process.

    Attributes:
        title: what the data is.
        said: how well it was met, in numbers.
        path: (T + 1, points), row t is x_t of all points of the learned process.
        shares: of the quantiles, each in (0, 1).
        exact: (T + 1, shares), the quantiles of the true x_t.
        x: where densities are known, evenly spaced.
        start, data: the true densities of x_T and x_0 there.
    """

    title: str
    said: str
    path: Table
    shares: Sequence[float]
    exact: Table
    x: Table
    start: Table
    data: Table


def mappings(rows: Sequence[Mapping]) -> Image.Image:
    """Draw processes under each other, time from left (t = T) to right (t = 0)."""
    with page(7.6, 3.3 * len(rows)) as figure:
        grid = figure.subplots(len(rows), 3, width_ratios=[1, 4.6, 1.6], squeeze=False, sharey="row")
        for number, (row, (start, middle, data)) in enumerate(zip(rows, grid, strict=True)):
            last = number == len(rows) - 1
            draw_density(start, row, row.path[-1], row.start, "x_T", last)
            start.invert_xaxis()
            start.set_ylabel("x")
            draw_quantiles(middle, row, number == 0, last)
            draw_density(data, row, row.path[0], row.data, "x_0", last)
            start.set_ylim(row.x[0], row.x[-1])
        return as_image(figure)


def draw_density(axes: Axes, row: Mapping, points: Table, exact: Table, name: str, last: bool) -> None:
    """The points as bars, the true density as a line, both lying on their side."""
    axes.hist(
        points, bins=BINS, range=(row.x[0], row.x[-1]), density=True, orientation="horizontal", color=BLUE, alpha=0.35
    )
    axes.plot(exact, row.x, color=ORANGE, linewidth=1.4)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.set_title(name)
    if last:
        axes.set_xlabel("density")


def draw_quantiles(axes: Axes, row: Mapping, named: bool, last: bool) -> None:
    """Learned quantiles as lines, true ones as dots, and a few points on their way."""
    T = len(row.path) - 1
    t = np.arange(T + 1)
    axes.plot(t, row.path[:, :PATHS], color=MUTED, linewidth=0.5, alpha=0.55)
    axes.plot(t, np.quantile(row.path, row.shares, axis=1).T, color=BLUE, linewidth=1.5)
    dots = t[:: max(T // 12, 1)]
    axes.plot(dots, row.exact[dots], ".", color=ORANGE, markersize=5, zorder=3)
    axes.set_xlim(T, 0)
    axes.set_title(row.title, pad=20)
    said = axes.annotate(row.said, (0, 1), (0, 5), "axes fraction", "offset points", color=INK, fontsize=8.5)
    said.set_in_layout(False)  # it would make the panel narrow
    if named:
        percent = ", ".join(f"{100 * share:g}" for share in row.shares)
        for height, text, color in (
            (0.97, f"quantiles of the learned process ({percent} %)", BLUE),
            (0.90, "the same in closed form", ORANGE),
            (0.83, f"{PATHS} of the points", MUTED),
        ):
            axes.text(
                0.02,
                height,
                text,
                color=color,
                fontsize=8.5,
                transform=axes.transAxes,
                va="top",
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            )
    if last:
        axes.set_xlabel("t (noising steps still to undo)")
