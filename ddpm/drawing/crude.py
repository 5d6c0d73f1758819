"""Crude versions of images, as somebody would sketch them: what image-to-image may start from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from ddpm.drawing.grid import Pixels, as_picture

COLORS = 6
MEDIAN_SHARE = 23 / 256
"""Width of the median filter over that of the image, of simulated strokes for images of 256 pixels."""


def strokes(image: Pixels) -> Pixels:
    """A median filter, then six colors: the simulated strokes of Meng et al. (2022, SDEdit).

    Args:
        image: uint8 (height, width, 1 or 3).
    """
    width = max(3, round(MEDIAN_SHARE * min(image.shape[:2])) // 2 * 2 + 1)
    smooth = as_picture(image).filter(ImageFilter.MedianFilter(width))
    few = smooth.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert(smooth.mode)
    return np.asarray(few).reshape(image.shape)


def blocks(image: Pixels) -> Pixels:
    """The mean of each of about 8 x 8 squares; those at the right and the lower edge may be smaller.

    Args:
        image: uint8 (height, width, 1 or 3).
    """
    side = max(2, round(min(image.shape[:2]) / 8))
    drawn = np.empty_like(image)
    for top in range(0, image.shape[0], side):
        for left in range(0, image.shape[1], side):
            square = image[top : top + side, left : left + side]
            drawn[top : top + side, left : left + side] = square.mean(axis=(0, 1)).round().astype(np.uint8)
    return drawn


CRUDE: dict[str, Callable[[Pixels], Pixels]] = {"strokes": strokes, "blocks": blocks, "image": lambda image: image}
"""Name -> how an image is made crude; `image` leaves it as it is."""
