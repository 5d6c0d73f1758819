"""Tiles in rows and columns, with a text beside each row, over each column and over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.drawing.grid import PADDING, as_picture, check_images, lay_out
from ddpm.drawing.lettering import face_for
from ddpm.drawing.look import INK, MUTED, PAPER

LABEL_PIXELS, SMALLEST_PIXELS = 15, 9
CAPTION_PIXELS = 17
GAP = 8  # pixels between a text and the tiles


def labeled(
    tiles: NDArray[np.uint8],
    zoom: int,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    caption: str = "",
) -> Image.Image:
    """Draw tiles as they lie in the array, with their labels.

    Args:
        tiles: uint8 (rows, columns, height, width, channels), 1 or 3 channels.
        zoom: finished pixels per image pixel, at least 1.
        row_labels: one for each row, or none; they stand on the left and are never cut.
        column_labels: one for each column, or none; they shrink until the widest fits over its tile.
        caption: one line over all; a long one makes the picture wider, it is never cut.

    Raises:
        ValueError: tiles that are no images, counts that do not agree, or a column label that fits at no legible size.
    """
    if tiles.ndim != 5 or 0 in tiles.shape:
        raise ValueError(f"tiles must have the shape (rows, columns, height, width, channels), got {tiles.shape}")
    rows, columns, height, width, _ = tiles.shape
    for name, labels, count in (("row", row_labels, rows), ("column", column_labels, columns)):
        if labels and len(labels) != count:
            raise ValueError(f"each of the {count} {name}s needs one label, got {len(labels)}")
    if zoom < 1:
        raise ValueError(f"zoom must be at least 1, got {zoom}")
    images = tiles.reshape(rows * columns, *tiles.shape[2:])
    check_images(images)
    sheet = as_picture(lay_out(images, columns, zoom, PADDING)).convert("RGB")

    beside = (
        ceil(max((face_for(text, LABEL_PIXELS).getlength(text) for text in row_labels), default=-2 * GAP)) + 2 * GAP
    )
    over = (CAPTION_PIXELS + 12 if caption else 0) + (LABEL_PIXELS + GAP if column_labels else 0)
    caption_face = face_for(caption, CAPTION_PIXELS)
    picture = Image.new(
        "RGB",
        (max(beside + sheet.width, ceil(caption_face.getlength(caption)) + 2 * PADDING), over + sheet.height),
        PAPER,
    )
    picture.paste(sheet, (beside, over))
    draw = ImageDraw.Draw(picture)
    if caption:
        draw.text((PADDING, 6), caption, fill=INK, font=caption_face)
    pixels = fit(column_labels, width * zoom)
    for column, text in enumerate(column_labels):
        center = beside + PADDING + column * (width * zoom + PADDING) + width * zoom / 2
        draw.text((center, over - 4), text, fill=MUTED, font=face_for(text, pixels), anchor="mb")
    for row, text in enumerate(row_labels):
        middle = over + PADDING + row * (height * zoom + PADDING) + height * zoom / 2
        draw.text((beside - GAP, middle), text, fill=MUTED, font=face_for(text, LABEL_PIXELS), anchor="rm")
    return picture


def fit(labels: Sequence[str], width_pixels: int) -> int:
    """The largest legible height of letters at which every label is at most so wide.

    Raises:
        ValueError: there is none.
    """
    for pixels in range(LABEL_PIXELS, SMALLEST_PIXELS - 1, -1):
        if all(face_for(text, pixels).getlength(text) <= width_pixels for text in labels):
            return pixels
    raise ValueError(
        f"labels such as {max(labels, key=len)!r} do not fit over tiles of {width_pixels} pixels; raise figures.zoom"
    )
