"""Curves: how training went, and what the noise schedule does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ddpm.drawing.look import BLUE, GREEN, MUTED, ORANGE, PAPER, as_image, name_axes, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = NDArray[np.float64]
Row = Mapping[str, str | float | None]

SMOOTHED_SHARE = 25  # the smoothed curve is a mean over 1/25 of the logged steps
LOG_SCALE_FROM = 4.0  # a loss that falls by more than this factor reads better on a log axis
QUARTERS = {
    "valid_loss_25": "0-25 %",
    "valid_loss_50": "25-50 %",
    "valid_loss_75": "50-75 %",
    "valid_loss_100": "75-100 %",
}
RUN_COLORS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008
QUARTER_COLORS = ("#f2b48a", "#e58a4b", "#d55e00", "#8a3d00")  # one hue: the more noise, the darker


def loss_curve(rows: Sequence[Row]) -> Image.Image:
    """Draw the rows of results/train.csv: training and held-out loss, gradient norm, learning rate.

    Args:
        rows: one mapping per logged step with step, loss, valid_loss, learning_rate and grad_norm, as numbers or as the
            text of a CSV file; valid_loss may be empty. So may valid_loss_25, _50, _75 and _100, the held-out loss of
            each quarter of t, or be missing; they get a panel of their own.

    Raises:
        ValueError: no rows, a missing column, or an empty cell where a number must be.
    """
    if not rows:
        raise ValueError("loss curve: needs at least one logged step, got none; lower train.log_every")
    step, loss, rate, norm = (series(rows, name) for name in ("step", "loss", "learning_rate", "grad_norm"))
    valid = series(rows, "valid_loss", may_be_empty=True)
    quarters = {name: series(rows, name, may_be_empty=True) for name in QUARTERS if name in rows[0]}
    parted = any(np.isfinite(values).any() for values in quarters.values())
    with page(7.6, 7.0 if parted else 5.4) as figure:
        heights = [3.4, 2.2, 1, 1] if parted else [3.4, 1, 1]
        top, *parts, middle, bottom = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        draw_loss(top, step, loss, valid)
        if parted:
            draw_quarters(parts[0], step, quarters)
        middle.plot(step, norm, color=MUTED, linewidth=0.9)
        name_axes(middle, "", "", "gradient\nnorm (L2)")
        bottom.plot(step, rate, color=GREEN, linewidth=1.4)
        name_axes(bottom, "", "step (optimizer updates)", "learning\nrate")
        bottom.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        for axes in (middle, bottom):
            axes.set_ylim(bottom=0)
            axes.locator_params(axis="y", nbins=3)
        bottom.set_xlim(0, step[-1])
        figure.align_ylabels()
        return as_image(figure)


def loss_curves(runs: Mapping[str, Sequence[Row]]) -> Image.Image:
    """Draw the training losses of several runs over each other, smoothed, with their held-out losses as points.

    Args:
        runs: name -> rows of its results/train.csv, as for `loss_curve`; at most six.

    Raises:
        ValueError: no runs or too many, or what `loss_curve` refuses.
    """
    if not 1 <= len(runs) <= len(RUN_COLORS):
        raise ValueError(f"loss curves: 1 to {len(RUN_COLORS)} runs fit into one picture, got {len(runs)}")
    with page(7.6, 4.2) as figure:
        axes, everything = figure.subplots(), []
        for (name, rows), color in zip(runs.items(), RUN_COLORS, strict=False):
            step, loss = series(rows, "step"), series(rows, "loss")
            valid = series(rows, "valid_loss", may_be_empty=True)
            mean, measured = running_mean(loss, max(1, len(loss) // SMOOTHED_SHARE)), np.isfinite(valid)
            axes.plot(step, mean, color=color, linewidth=1.8, label=name)
            axes.plot(step[measured], valid[measured], "o", color=color, markersize=4, markerfacecolor=PAPER)
            everything.append(mean)
        scale_loss(axes, np.concatenate(everything))
        axes.legend(loc="upper right")
        name_axes(
            axes,
            "Loss of training (lines) and of held-out images (points)",
            "step (optimizer updates)",
            "loss per pixel",
        )
        return as_image(figure)


def draw_loss(axes: Axes, step: Series, loss: Series, valid: Series) -> None:
    """Draw the raw loss faintly, its running mean over it and the held-out loss as points."""
    window = max(1, len(loss) // SMOOTHED_SHARE)
    mean = running_mean(loss, window)
    axes.plot(step, loss, color=BLUE, alpha=0.28, linewidth=0.9, label="training")
    axes.plot(step, mean, color=BLUE, linewidth=1.9, label=f"training, mean of {2 * window + 1} logged values")
    measured = np.isfinite(valid)
    if measured.any():
        axes.plot(
            step[measured],
            valid[measured],
            "o-",
            color=ORANGE,
            markersize=4.5,
            linewidth=1.0,
            clip_on=False,  # the last point lies on the edge
            zorder=3,
            label="held out, averaged weights",
        )
    scale_loss(axes, loss)
    axes.legend(loc="upper right")
    name_axes(axes, "How training went", "", "loss (mean squared error per pixel)")


def draw_quarters(axes: Axes, step: Series, quarters: Mapping[str, Series]) -> None:
    """Draw the held-out loss of each quarter of the noise levels that was measured."""
    drawn = []
    for (name, label), color in zip(QUARTERS.items(), QUARTER_COLORS, strict=True):
        values = quarters.get(name, np.full(len(step), np.nan))
        measured = np.isfinite(values)
        if measured.any():
            look: dict[str, Any] = {"linewidth": 1.2, "markersize": 4, "clip_on": False, "zorder": 3}
            axes.plot(step[measured], values[measured], ".-", color=color, label=label, **look)
            drawn.append(values[measured])
    scale_loss(axes, np.concatenate(drawn))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(drawn), title="held out, by t / T")
    name_axes(axes, "", "", "loss by\nnoise level")


def scale_loss(axes: Axes, values: Series) -> None:
    """A log axis where losses differ by much, else one that starts at 0."""
    if values.min() > 0 and values.max() / values.min() > LOG_SCALE_FROM:
        axes.set_yscale("log")
        plain_log_ticks(axes)
    else:
        axes.set_ylim(bottom=0)


def plain_log_ticks(axes: Axes) -> None:
    """Label a log axis 0.05, 0.1, 0.2, ... instead of with powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def schedule_curves(alpha_bar: ArrayLike, beta: ArrayLike) -> Image.Image:
    """Draw a schedule over t: beta, alpha_bar, the two scales and log-SNR.

    log-SNR is drawn where it is finite: alpha_bar[0] = 1 has no noise at all.

    Args:
        alpha_bar, beta: tables of length T + 1; index 0 is data.

    Raises:
        ValueError: tables of different lengths, or fewer than two entries.
    """
    signal, noise_rate = np.asarray(alpha_bar, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    if signal.shape != noise_rate.shape or signal.ndim != 1 or len(signal) < 2:
        raise ValueError(
            f"schedule curves: alpha_bar and beta must be tables of one length T + 1, "
            f"got {signal.shape} and {noise_rate.shape}"
        )
    t = np.arange(len(signal))
    mixed = (signal > 0) & (signal < 1)
    with page(7.6, 5.2) as figure:
        (one, two), (three, four) = figure.subplots(2, 2, sharex=True)
        one.plot(t[1:], noise_rate[1:], color=BLUE)
        name_axes(one, r"Noise added per step, $\beta_t$", "", "variance")
        two.plot(t, signal, color=BLUE)
        name_axes(two, r"Signal left, $\bar{\alpha}_t$", "", "variance")
        three.plot(t, np.sqrt(signal), color=BLUE, label=r"signal $\sqrt{\bar{\alpha}_t}$")
        three.plot(t, np.sqrt(1 - signal), color=ORANGE, linestyle="--", label=r"noise $\sqrt{1-\bar{\alpha}_t}$")
        three.legend(loc="center right")
        name_axes(three, r"What $x_t$ is made of", "t (noising steps)", "scale")
        four.plot(t[mixed], np.log(signal[mixed] / (1 - signal[mixed])), color=BLUE)
        four.axhline(0, color=MUTED, linewidth=0.9, linestyle=":")
        name_axes(four, "log-SNR", "t (noising steps)", "natural log")
        four.set_xlim(0, t[-1])
        return as_image(figure)


def series(rows: Sequence[Row], name: str, may_be_empty: bool = False) -> Series:
    """Return one column as float64; an empty cell becomes NaN where that is allowed."""
    values = []
    for number, row in enumerate(rows, start=1):
        if name not in row:
            raise ValueError(f"loss curve: row {number} must have the column {name}, got {', '.join(row)}")
        cell = row[name]
        if may_be_empty and cell in (None, ""):
            values.append(math.nan)
            continue
        try:
            values.append(float("" if cell is None else cell))
        except ValueError:
            raise ValueError(f"loss curve: row {number} must have a number in {name}, got {cell!r}") from None
    return np.array(values, dtype=np.float64)


def running_mean(values: Series, window: int) -> Series:
    """Return the mean over `window` values either side.

    Near the ends both sides shrink alike: a lopsided mean would start far below a steeply falling loss.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    reach = np.minimum(window, np.minimum(index, index[::-1]))
    return np.asarray((sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1), dtype=np.float64)
