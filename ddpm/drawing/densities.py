"""The density of pixel values while images turn into noise, as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.animation import Animation
from ddpm.drawing.canvas import frame_of, settle
from ddpm.drawing.grid import as_picture, lay_out
from ddpm.drawing.look import BLUE, INK, ORANGE, name_axes, page

EDGES = np.linspace(-4, 4, 81)
TOP = 1.0  # of the axis: higher bars are cut, and say how high they are
HOLD_MILLISECONDS, STEP_MILLISECONDS = 1500, 110


@dataclass(frozen=True)
class Moment:
    """Values at one step.

    Attributes:
        t: the step.
        values: all pixel values of the images.
        tiles: uint8 (count, height, width, 1 or 3), how some of them look.
        signal: what multiplies x0.
    """

    t: int
    values: NDArray[np.floating]
    tiles: NDArray[np.uint8]
    signal: float


def densities(moments: Sequence[Moment], still: int) -> Animation:
    """One frame a moment, the first and the last for longer; frame `still` stands for all."""
    columns = int(np.ceil(len(moments[0].tiles) ** 0.5))
    frames = []
    with page(7.0, 3.7) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1, 2.1])
        shown = left.imshow(sheet(moments[0], columns), interpolation="nearest")
        left.set_axis_off()
        left.set_title("x_t")
        bars = right.stairs(np.zeros(len(EDGES) - 1), EDGES, fill=True, color=BLUE, alpha=0.55)
        middle = (EDGES[1:] + EDGES[:-1]) / 2
        right.plot(middle, np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi), color=ORANGE, linewidth=1.8)
        right.text(1.15, 0.25, "N(0, 1)", color=ORANGE, fontsize=9.5)
        right.set_ylim(0, TOP)
        right.set_xlim(EDGES[0], EDGES[-1])
        name_axes(right, heading(moments[0]), "pixel value (black is -1, white is 1)", "density")
        cut = right.text(0.98, 0.96, "", color=INK, fontsize=9, transform=right.transAxes, ha="right", va="top")
        settle(figure)
        for moment in moments:
            density, _ = np.histogram(moment.values, EDGES, density=True)
            bars.set_data(density)
            highest = int(density.argmax())
            tall = density[highest] > TOP
            cut.set_text(f"highest bar: {density[highest]:.1f}, at {middle[highest]:.1f}" if tall else "")
            shown.set_data(sheet(moment, columns))
            right.set_title(heading(moment))
            frames.append(frame_of(figure))
    waits = [STEP_MILLISECONDS] * len(frames)
    waits[0] = waits[-1] = HOLD_MILLISECONDS
    return Animation(frames, waits, still)


def heading(moment: Moment) -> str:
    """The step and what its values are like."""
    values = moment.values
    return f"t = {moment.t}:  mean {values.mean():.2f}, std {values.std():.2f}, signal {moment.signal:.2f}"


def sheet(moment: Moment, columns: int) -> NDArray[np.uint8]:
    """The tiles as one RGB array."""
    zoom = max(1, 96 // moment.tiles.shape[2])
    picture: Image.Image = as_picture(lay_out(moment.tiles, columns, zoom, zoom)).convert("RGB")
    return np.asarray(picture)
