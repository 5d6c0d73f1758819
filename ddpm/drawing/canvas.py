"""Many pictures of one matplotlib page, fast: the page is laid out once, and only what changed is different."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCREEN_DOTS_PER_INCH = 100
"""Of animations: they are looked at on screens, and each frame costs bytes."""


def settle(figure: Figure) -> None:
    """Lay a page out for the last time, so that its panels stay where they are from frame to frame."""
    figure.set_dpi(SCREEN_DOTS_PER_INCH)
    frame_of(figure)
    figure.set_layout_engine("none")


def frame_of(figure: Figure) -> Image.Image:
    """The page as it is now, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())  # type: ignore[no-untyped-call]
