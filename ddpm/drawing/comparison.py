"""Real and generated images side by side, so that the eye can judge what a metric says."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.drawing.grid import PADDING, tile
from ddpm.drawing.look import INK, PAPER, type_face

GUTTER_PIXELS = 28
CAPTION_PIXELS = 17
HEAD_PIXELS = CAPTION_PIXELS + 14


def real_and_generated(
    real: NDArray[np.uint8],
    samples: NDArray[np.uint8],
    rows: int,
    columns: int,
    zoom: int,
    captions: tuple[str, str] = ("real", "generated"),
) -> Image.Image:
    """Draw two grids of the same size next to each other, each under its caption.

    Args:
        real, samples: uint8 (count, height, width, channels); the first rows x columns of each are shown.
        captions: what stands over the left and over the right grid; a long one makes its half wider, it is never cut.

    Raises:
        ValueError: too few images, or images of two shapes.
    """
    if real.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"comparison: real and generated images must have one shape, got {real.shape[1:]} and {samples.shape[1:]}; "
            "compare samples with the prepared images of the same params.yaml"
        )
    grids = [tile(images, rows, columns, zoom) for images in (real, samples)]
    face = type_face(CAPTION_PIXELS)
    width = max(grids[0].width, *(ceil(face.getlength(caption)) + 2 * PADDING for caption in captions))
    picture = Image.new("RGB", (2 * width + GUTTER_PIXELS, grids[0].height + HEAD_PIXELS), PAPER)
    draw = ImageDraw.Draw(picture)
    for left, grid, caption in zip((0, width + GUTTER_PIXELS), grids, captions, strict=True):
        picture.paste(grid.convert("RGB"), (left, HEAD_PIXELS))
        draw.text((left + PADDING, 6), caption, fill=INK, font=face)
    return picture
