"""Many small images as one picture: enlarged, evenly spaced, in reading order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

PADDING = 6  # pixels of the finished picture, between tiles and around them
PADDING_GREY = 0  # strokes are white and reach the edge of their image: on white they would run into each other


def tile(images: Pixels, rows: int, columns: int, zoom: int, padding: int = PADDING) -> Image.Image:
    """Lay the first rows x columns images out in reading order.

    Pixels become squares of zoom x zoom (nearest neighbor): the picture shows the numbers that were sampled, and no
    resampling filter can flatter them.

    Args:
        images: uint8 (count, height, width, channels), 1 channel for grey or 3 for RGB; more than needed is fine.
        zoom: finished pixels per image pixel, at least 1.
        padding: black pixels between the tiles and around them.

    Raises:
        ValueError: too few images, or an array that holds no images.
    """
    check_images(images)
    for name, value, least in (("rows", rows, 1), ("columns", columns, 1), ("zoom", zoom, 1), ("padding", padding, 0)):
        if value < least:
            raise ValueError(f"grid: {name} must be at least {least}, got {value}")
    if len(images) < rows * columns:
        raise ValueError(
            f"grid: {rows} rows x {columns} columns need {rows * columns} images, got {len(images)}; "
            "sample more images, or lower figures.grid_rows or figures.grid_columns"
        )
    return as_picture(lay_out(images[: rows * columns], columns, zoom, padding))


def check_images(images: Pixels) -> None:
    """Refuse an array that is not uint8 (count, height, width, 1 or 3)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "figures: images must be uint8 of shape (count, height, width, 1 or 3), "
            f"got {images.dtype} of shape {images.shape}; scale [-1, 1] to 0..255 first"
        )


def lay_out(images: Pixels, columns: int, zoom: int, padding: int) -> Pixels:
    """Return one array (height, width, channels) with image i at row i // columns, column i % columns."""
    _, height, width, channels = images.shape
    rows = -(-len(images) // columns)
    step_y, step_x = height * zoom + padding, width * zoom + padding
    sheet = np.full((rows * step_y + padding, columns * step_x + padding, channels), PADDING_GREY, dtype=np.uint8)
    for i, image in enumerate(images):
        top, left = padding + i // columns * step_y, padding + i % columns * step_x
        sheet[top : top + height * zoom, left : left + width * zoom] = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
    return sheet


def as_picture(sheet: Pixels) -> Image.Image:
    """Turn (height, width, 1 or 3) into a grey or an RGB image."""
    return Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
