"""Pictures joined to larger ones."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ddpm.drawing.look import PAPER


def above_each_other(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Stack pictures from top to bottom, at the left edge, `gap` pixels of paper between them."""
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(picture.width for picture in pictures), height), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture.convert("RGB"), (0, top))
        top += picture.height + gap
    return sheet


def side_by_side(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    """Put pictures from left to right, at the upper edge, `gap` pixels of paper between them."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), PAPER)
    left = 0
    for picture in pictures:
        sheet.paste(picture.convert("RGB"), (left, 0))
        left += picture.width + gap
    return sheet
