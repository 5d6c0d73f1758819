"""Strips: a few images, one per row, followed through time, one step per column."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ddpm.drawing.grid import PADDING, as_picture, check_images, lay_out
from ddpm.drawing.look import INK, MUTED, PAPER, type_face

LABEL_PIXELS = 15
SMALLEST_LABEL_PIXELS = 9  # below this, digits are no longer legible
CAPTION_PIXELS = 17


def strip(frames: NDArray[np.uint8], labels: Sequence[int], zoom: int, caption: str = "") -> Image.Image:
    """Draw images through time: rows are images, columns are steps, with t above each column.

    The same picture serves the forward process (noising of real images), the reverse process (denoising) and the
    predictions x0_hat on the way; `labels` gives the direction.

    Args:
        frames: uint8 (columns, rows, height, width, channels), 1 or 3 channels.
        labels: the step t of each column.
        zoom: finished pixels per image pixel, at least 1.
        caption: one line above the strip, none when empty; a long one makes the picture wider, it is never cut.

    Raises:
        ValueError: frames that hold no images, or labels that do not match the columns.
    """
    if frames.ndim != 5 or 0 in frames.shape:
        raise ValueError(
            f"strip: frames must have the shape (columns, rows, height, width, channels), got {frames.shape}"
        )
    columns, rows = frames.shape[:2]
    if len(labels) != columns:
        raise ValueError(f"strip: each of the {columns} columns needs one label, got {len(labels)} labels")
    if zoom < 1:
        raise ValueError(f"strip: zoom must be at least 1, got {zoom}")
    images = frames.swapaxes(0, 1).reshape(rows * columns, *frames.shape[2:])
    check_images(images)
    sheet = as_picture(lay_out(images, columns, zoom, PADDING)).convert("RGB")

    tile_pixels = frames.shape[3] * zoom
    texts, face = fit_labels(labels, tile_pixels)
    title = type_face(CAPTION_PIXELS)
    head = LABEL_PIXELS + 8 + (CAPTION_PIXELS + 12 if caption else 0)
    width = max(sheet.width, ceil(title.getlength(caption)) + 2 * PADDING)
    picture = Image.new("RGB", (width, sheet.height + head), PAPER)
    picture.paste(sheet, (0, head))
    draw = ImageDraw.Draw(picture)
    if caption:
        draw.text((PADDING, 6), caption, fill=INK, font=title)
    for column, text in enumerate(texts):
        center = PADDING + column * (tile_pixels + PADDING) + tile_pixels / 2
        draw.text((center, head - 4), text, fill=MUTED, font=face, anchor="mb")
    return picture


def fit_labels(labels: Sequence[int], width_pixels: int) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Choose `t = 250` or, where that is too wide for a tile, `250`, at the largest size that fits."""
    named = [f"t = {label}" for label in labels]
    bare = [str(label) for label in labels]
    for texts, smallest in ((named, 12), (bare, SMALLEST_LABEL_PIXELS)):
        for pixels in range(LABEL_PIXELS, smallest - 1, -1):
            face = type_face(pixels)
            if max(face.getlength(text) for text in texts) <= width_pixels:
                return texts, face
    raise ValueError(
        f"strip: labels up to {max(labels)} do not fit above tiles of {width_pixels} pixels; raise figures.zoom"
    )
