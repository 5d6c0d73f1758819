"""How samples came to be: the same noise, denoised by the weights of one training step after another."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.drawing.grid import PADDING, as_picture, check_images, lay_out
from ddpm.drawing.look import MUTED, PAPER, type_face

LABEL_PIXELS = 15
GAP = 8  # pixels between a label and its row


def evolution(previews: Sequence[NDArray[np.uint8]], steps: Sequence[int], zoom: int) -> Image.Image:
    """Draw one row of images per training step, named at its left; a column shows what became of one noise.

    Args:
        previews: per row uint8 (columns, height, width, channels), 1 or 3 channels, all shaped alike.
        steps: the optimizer step of each row.
        zoom: finished pixels per image pixel, at least 1.

    Raises:
        ValueError: no images, previews of different shapes, or steps that do not match them.
    """
    if not previews or previews[0].size == 0:
        raise ValueError("evolution: needs at least one image, got none; lower train.preview_every")
    shapes = {images.shape for images in previews}
    if len(shapes) > 1:
        raise ValueError(f"evolution: all previews must have one shape, got {sorted(shapes)}; draw those of one run")
    if len(steps) != len(previews):
        raise ValueError(
            f"evolution: each of the {len(previews)} previews needs its step, got {len(steps)} steps; name them all"
        )
    if zoom < 1:
        raise ValueError(f"evolution: zoom must be at least 1, got {zoom}; raise figures.zoom")
    images = np.concatenate(previews)
    check_images(images)
    columns, height = previews[0].shape[:2]
    sheet = as_picture(lay_out(images, columns, zoom, PADDING)).convert("RGB")

    pitch = height * zoom + PADDING
    face = type_face(min(LABEL_PIXELS, pitch))
    labels = [f"step {step:,}" for step in steps]
    margin = ceil(max(face.getlength(label) for label in labels)) + 2 * GAP
    picture = Image.new("RGB", (margin + sheet.width, sheet.height), PAPER)
    picture.paste(sheet, (margin, 0))
    draw = ImageDraw.Draw(picture)
    for row, label in enumerate(labels):
        middle = PADDING + row * pitch + height * zoom / 2
        draw.text((margin - GAP, middle), label, fill=MUTED, font=face, anchor="rm")
    return picture
