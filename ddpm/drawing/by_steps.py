"""A distance against the evaluations that samplers spend on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from ddpm.drawing.look import BLUE, GREEN, INK, MUTED, ORANGE, as_image, name_axes, page

if TYPE_CHECKING:
    from matplotlib.axis import Axis

# Okabe and Ito's remaining colors that are dark enough on white
COLORS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", INK, "#e69f00")
MARKERS = "osD^vPX"


def by_steps(
    lines: Mapping[str, Sequence[tuple[float, float]]], metric: str, about: str, floor: tuple[str, float] | None
) -> Image.Image:
    """Draw one line a sampler, both axes logarithmic.

    Args:
        lines: sampler -> (evaluations of the net an image, distance), at least one point each, above 0.
        metric: name of the distance with its count of images, for the axis.
        about: what holds for all of them, for the line at the foot.
        floor: name and distance of real images, drawn as a horizontal line.

    Raises:
        ValueError: no lines, or more than there are colors.
    """
    if not 1 <= len(lines) <= len(COLORS):
        raise ValueError(f"by steps: 1 to {len(COLORS)} samplers can be told apart, got {len(lines)}; name fewer")
    with page(7.6, 4.6) as figure:
        axes = figure.subplots()
        for (name, points), color, marker in zip(lines.items(), COLORS, MARKERS, strict=False):
            evaluations, values = zip(*sorted(points), strict=True)
            look: dict[str, Any] = {"linewidth": 1.5, "markersize": 5.5, "clip_on": False, "zorder": 3}
            axes.plot(evaluations, values, color=color, marker=marker, label=name, **look)
        if floor is not None:
            axes.axhline(floor[1], color=MUTED, linestyle="--", linewidth=1.2, label=floor[0])
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_ticks(axis)
        name_axes(axes, "What fewer steps cost", "evaluations of the net per image (NFE)", f"{metric}, lower is better")
        figure.supxlabel(about, fontsize=8.5, color=MUTED)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        return as_image(figure)


def plain_ticks(axis: Axis) -> None:
    """Label a log axis 1, 2, 3, 5, 7, 10, ... instead of with powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
