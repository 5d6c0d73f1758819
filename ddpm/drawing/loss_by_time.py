"""Losses over the noise level, each with a band that says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.curves import scale_loss
from ddpm.drawing.look import BLUE, GREEN, MUTED, ORANGE, as_image, name_axes, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEVIATIONS = 1.96  # of the mean on either side: 95 % where the images are many
LOOKS = ((BLUE, "-", "o"), (ORANGE, "--", "s"))


@dataclass(frozen=True)
class Measured:
    """One loss of several sets of images.

    Attributes:
        title, unit: of the panel.
        losses: set -> (bins, images).
    """

    title: str
    unit: str
    losses: dict[str, NDArray[np.float64]]


def mean_and_half(losses: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of each row and half the width of its 95 % interval, from the deviation between the images."""
    error = losses.std(axis=1, ddof=1) / losses.shape[1] ** 0.5
    return losses.mean(axis=1), DEVIATIONS * error


def loss_by_time(panels: Sequence[Measured], centers: Sequence[float], T: int) -> Image.Image:
    """Draw a panel for each loss, and below them how much larger that of the second set is than that of the first.

    Args:
        panels: at least one; each of the same one or two sets.
        centers: t in the middle of each bin.
        T: where t ends.
    """
    sets = list(panels[0].losses)
    heights = [3.0] * len(panels) + [1.5] * (len(sets) > 1)
    with page(7.6, 0.9 + sum(heights)) as figure:
        all_axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        for axes, panel in zip(all_axes, panels, strict=False):
            drawn = []
            for (name, losses), (color, line, mark) in zip(panel.losses.items(), LOOKS, strict=False):
                mean, half = mean_and_half(losses)
                label = f"{losses.shape[1]:,} {name}, mean over all t {losses.mean():.4g}"
                axes.fill_between(centers, mean - half, mean + half, color=color, alpha=0.2, linewidth=0)
                axes.plot(centers, mean, color=color, linestyle=line, marker=mark, markersize=3.5, label=label)
                drawn += [mean, np.maximum(mean - half, mean / 4)]
            scale_loss(axes, np.concatenate(drawn))
            axes.legend(loc="upper right", title="band: 95 % of the mean over images")
            name_axes(axes, panel.title, "", panel.unit)
        if len(sets) > 1:
            _draw_gap(all_axes[-1], centers, *panels[0].losses.values())
            name_axes(all_axes[-1], f"Gap: {sets[1]} over {sets[0]}, at the same t and noise", "", "ratio of means")
        all_axes[-1].set_xlabel("t (noising steps; 0 is data)")
        all_axes[-1].set_xlim(0, T)
        figure.align_ylabels()
        return as_image(figure)


def ratio_and_half(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mean(second) / mean(first) of each row and half the width of its 95 % interval, by the delta method.

    Args:
        first, second: (bins, images), pairs that share what is random beside the images.
    """
    ratio = second.mean(axis=1) / first.mean(axis=1)
    apart = second / second.mean(axis=1, keepdims=True) - first / first.mean(axis=1, keepdims=True)
    return ratio, DEVIATIONS * ratio * apart.std(axis=1, ddof=1) / first.shape[1] ** 0.5


def _draw_gap(axes: Axes, centers: Sequence[float], first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    ratio, half = ratio_and_half(first, second)
    axes.axhline(1.0, color=MUTED, linewidth=1.0, linestyle=":")
    axes.fill_between(centers, ratio - half, ratio + half, color=GREEN, alpha=0.2, linewidth=0)
    axes.plot(centers, ratio, color=GREEN, marker="^", markersize=3.5)
