"""Several noise schedules on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.look import BLUE, GREEN, INK, MUTED, ORANGE, as_image, name_axes, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = NDArray[np.float64]
COLORS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#8a6d00", MUTED, INK)  # Okabe and Ito; their yellow darkened
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1)))
LEAST_GAP = 0.085  # between labels, as a share of the height of a panel


@dataclass(frozen=True)
class Curve:
    """A schedule by name; both tables have length T + 1, index 0 is data."""

    name: str
    alpha_bar: Table
    beta: Table

    @property
    def t_share(self) -> Table:
        """t / T."""
        return np.linspace(0, 1, len(self.alpha_bar))

    @property
    def log_snr(self) -> Table:
        """Natural logarithm of alpha_bar / (1 - alpha_bar); infinite at both ends, where it has none."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.alpha_bar) - np.log1p(-self.alpha_bar))


def overlaid(curves: Sequence[Curve]) -> Image.Image:
    """Draw beta, alpha_bar, log-SNR and what is left at T of one to eight schedules.

    Raises:
        ValueError: none, or more than there are colors.
    """
    if not 1 <= len(curves) <= len(COLORS):
        raise ValueError(f"schedules: must be 1 to {len(COLORS)} curves, got {len(curves)}")
    with page(7.6, 6.6) as figure:
        (beta, signal), (snr, left) = figure.subplots(2, 2)
        for curve, color, dash in zip(curves, COLORS, DASHES, strict=False):
            mixed = np.isfinite(curve.log_snr)
            beta.plot(curve.t_share[1:], curve.beta[1:], color=color, linestyle=dash)
            signal.plot(curve.t_share, curve.alpha_bar, color=color, linestyle=dash)
            snr.plot(curve.t_share[mixed], curve.log_snr[mixed], color=color, linestyle=dash)
        beta.set_yscale("log")
        snr.axhline(0, color=MUTED, linewidth=0.9, linestyle=":")
        name_axes(beta, r"Noise added per step, $\beta_t$", "t / T", "variance (log axis)")
        name_axes(signal, r"Signal left, $\bar{\alpha}_t$", "t / T", "variance")
        name_axes(snr, "log-SNR", "t / T", "natural log")
        label_ends(beta, [(curve.name, float(np.log10(curve.beta[-1]))) for curve in curves], log=True)
        label_middles(signal, curves)
        label_ends(snr, [(curve.name, float(curve.log_snr[np.isfinite(curve.log_snr)][-1])) for curve in curves])
        for axes in (beta, signal, snr):
            axes.set_xlim(0, 1)
        draw_left(left, curves)
        return as_image(figure)


def label_ends(axes: Axes, ends: Sequence[tuple[str, float]], log: bool = False) -> None:
    """Name each line beside its right end, at least a line of text apart, with a thin leader where it had to move."""
    low, high = np.log10(axes.get_ylim()) if log else axes.get_ylim()
    axes.set_ylim(*(10**low, 10**high) if log else (low, high))
    wanted = np.array([(value - low) / (high - low) for _, value in ends])
    for number, place in enumerate(spread(wanted)):
        axes.annotate(
            ends[number][0],
            xy=(1, wanted[number]),
            xytext=(1.06, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=COLORS[number],
            fontsize=8.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": COLORS[number], "linewidth": 0.7, "shrinkA": 1, "shrinkB": 0},
        )


def spread(wanted: NDArray[np.floating]) -> Table:
    """Places as near to the wanted ones as a least gap and the range 0..1 allow, in the same order."""
    order = np.argsort(wanted, kind="stable")
    placed = np.empty(len(wanted))
    below = -np.inf
    for rank, item in enumerate(order):
        most = 1 - LEAST_GAP * (len(order) - 1 - rank)  # room for those above
        below = placed[item] = min(max(wanted[item], below + LEAST_GAP, 0.02), max(most, below + LEAST_GAP))
    return placed


def label_middles(axes: Axes, curves: Sequence[Curve]) -> None:
    """Name each falling curve on itself, the earliest one highest, so that no two names share a height."""
    halves = [int(np.argmax(curve.alpha_bar < 0.5)) / len(curve.alpha_bar) for curve in curves]
    heights = np.linspace(0.9, 0.1, len(curves)) if len(curves) > 1 else [0.5]
    for number, height in zip(np.argsort(halves, kind="stable"), heights, strict=True):
        curve = curves[number]
        place = float(curve.t_share[int(np.argmax(curve.alpha_bar <= height))])
        axes.text(
            place,
            height,
            curve.name,
            color=COLORS[number],
            fontsize=8.5,
            va="center",
            ha="center" if 0.25 < place < 0.8 else "left" if place <= 0.25 else "right",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
        )


def draw_left(axes: Axes, curves: Sequence[Curve]) -> None:
    """How much of x0 the last step still holds, on a log axis; none at all stands at its left edge."""
    left = np.sqrt([curve.alpha_bar[-1] for curve in curves])
    edge = 10 ** np.floor(np.log10(left[left > 0].min() if (left > 0).any() else 1e-3) - 0.7)
    rows = np.arange(len(curves))[::-1]
    for number, (share, row) in enumerate(zip(left, rows, strict=True)):
        axes.plot([edge, max(share, edge)], [row, row], color=COLORS[number], linestyle=DASHES[number])
        axes.plot(max(share, edge), row, "o" if share else "X", color=COLORS[number], clip_on=False, markersize=6)
        text = f"{curves[number].name}: {share:.2g}" if share else f"{curves[number].name}: none"
        axes.text(edge * 1.2, row + 0.2, text, color=COLORS[number], fontsize=8.5, va="bottom")
    axes.set_xscale("log")
    axes.set_xlim(edge, 1)
    axes.set_ylim(-0.5, len(curves) - 0.2)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    name_axes(axes, r"Share of $x_0$ in $x_T$, $\sqrt{\bar{\alpha}_T}$", "scale (log axis); sampling assumes 0", "")
