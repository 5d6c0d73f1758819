"""One moment of a denoising, as a frame of an animation: x_t beside what the net predicts, and how far it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.drawing.grid import PADDING
from ddpm.drawing.labeled import labeled
from ddpm.drawing.lettering import face_for
from ddpm.drawing.look import BLUE, INK, MUTED, PAPER, RULE
from ddpm.drawing.sheets import side_by_side

GAP = 16  # pixels between the two grids
FOOT_PIXELS, BAR_PIXELS, TEXT_PIXELS = 34, 4, 15
LEAST_WIDTH = 250  # for both texts of the foot


def moment(
    noisy: NDArray[np.uint8],
    beliefs: NDArray[np.uint8],
    columns: int,
    zoom: int,
    labels: tuple[str, str],
    done: float,
) -> Image.Image:
    """Draw two grids side by side, a bar below them, and a text at each end of it.

    Frames of one size come from images, columns and zoom of one kind; the texts have no influence on the size.

    Args:
        noisy, beliefs: uint8 (rows x columns, height, width, channels), in reading order.
        columns: of each grid.
        zoom: finished pixels per image pixel, at least 1.
        labels: left and right text below, such as `t = 500`.
        done: share of the bar that is filled, 0..1.
    """
    grids = [
        labeled(images.reshape(-1, columns, *images.shape[1:]), zoom, caption=heading)
        for images, heading in ((noisy, "x_t"), (beliefs, "predicted x0"))
    ]
    both = side_by_side(grids, GAP)
    frame = Image.new("RGB", (max(both.width, LEAST_WIDTH), both.height + FOOT_PIXELS), PAPER)
    frame.paste(both, (0, 0))
    draw = ImageDraw.Draw(frame)
    left, right, top = PADDING, frame.width - PADDING - 1, both.height + 2
    draw.rectangle((left, top, right, top + BAR_PIXELS - 1), fill=RULE)
    if done > 0:
        draw.rectangle((left, top, left + round(done * (right - left)), top + BAR_PIXELS - 1), fill=BLUE)
    for x, anchor, text, ink in ((left, "lt", labels[0], INK), (right, "rt", labels[1], MUTED)):
        draw.text((x, top + BAR_PIXELS + 6), text, fill=ink, font=face_for(text, TEXT_PIXELS), anchor=anchor)
    return frame
