"""The look that all figures share: colors, type and the matplotlib page they are drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageFont

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#ffffff"
INK = "#1f2328"
MUTED = "#656d76"
RULE = "#e4e7eb"
# Okabe and Ito 2008: told apart by readers with any common color vision, and in grey print.
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"

DOTS_PER_INCH = 160


def type_face(pixels: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own scalable face at a height in pixels; it ships with Pillow, so no system font is asked for."""
    face = ImageFont.load_default(size=pixels)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise ValueError(
            "figures: labels need Pillow built with FreeType; install the wheel that requirements.lock pins"
        )
    return face


@contextmanager
def page(width_inches: float, height_inches: float) -> Iterator[Figure]:
    """Open an empty matplotlib figure that knows neither pyplot nor the user's matplotlibrc.

    Draw on it, and turn it into an image with `as_image` before the block ends: sizes are read at drawing time.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": "DejaVu Sans",  # comes with matplotlib
                "mathtext.fontset": "dejavusans",
                "font.size": 9.5,
                "text.color": INK,
                "axes.labelcolor": INK,
                "axes.edgecolor": MUTED,
                "axes.linewidth": 0.8,
                "axes.titlesize": 10.5,
                "axes.titlelocation": "left",
                "axes.titleweight": "bold",
                "axes.titlepad": 9.0,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.color": RULE,
                "grid.linewidth": 0.8,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "legend.facecolor": PAPER,
                "legend.edgecolor": PAPER,
                "legend.framealpha": 0.9,
            }
        )
        yield Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, facecolor=PAPER, layout="constrained")


def as_image(figure: Figure) -> Image.Image:
    """Render a figure with Agg to an RGB image of exactly its size in dots."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")  # Agg, whatever backend the user's environment names
    return Image.open(buffer).convert("RGB")


def name_axes(axes: Axes, title: str, across: str, up: str) -> None:
    """Give a panel its title and both of its axes a name; an empty name leaves that axis bare."""
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
