"""A data set at a glance: what it is, and a row of images per class, or a sheet of them where there are no classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ddpm.drawing.grid import as_picture, check_images
from ddpm.drawing.lettering import face_for, wrap
from ddpm.drawing.look import BLUE, INK, MUTED, PAPER, RULE

WIDEST_PIXELS, NARROWEST_PIXELS = 2000, 1000
MARGIN, GAP, ROW_GAP, GROUP_GAP = 48, 4, 10, 26
TILE_PIXELS = 120  # what small images are enlarged to, about
LARGEST_TILE_PIXELS, TALLEST_PIXELS = 256, 2600  # beyond it, images are shrunk; all classes together
SHEET_PIXELS = 1300  # the height that few classes share
LEAST_LABEL_PIXELS, LABEL_PIXELS, LABEL_GAP = 150, 260, 28
TITLE, CAPTION, NAME, COUNT = 42, 23, 23, 19  # letters
BAR_PIXELS = 6
EDGE = "#afb8c1"  # around every image: white ones would run into the paper


@dataclass(frozen=True)
class Layout:
    """How images are laid out: pixels are enlarged `zoom` times, or `shrink` x `shrink` of them become one."""

    columns: int
    group_images: int
    """Images of a class, at most."""
    zoom: int
    shrink: int


@dataclass(frozen=True)
class Group:
    """One class: its name ("" where there are no classes), a note under it, its size, and the images that are shown."""

    name: str
    note: str
    count: int
    images: NDArray[np.uint8]
    """(shown, height, width, channels)"""


def plan(
    height: int, width: int, num_groups: int, largest_group: int, *, labeled: bool, wanted: int | None = None
) -> Layout:
    """Choose how many images of how many pixels make a card that is at most 2,000 pixels wide.

    Args:
        height, width: of the images.
        num_groups: classes that are shown, at least 1.
        largest_group: images of the largest of them, at least 1.
        labeled: whether they have names, which need room.
        wanted: images altogether, at most, but one per class; None: as many as make a good picture.
    """
    side = max(height, width)
    zoom = max(1, min(round(TILE_PIXELS / (height * width) ** 0.5), LARGEST_TILE_PIXELS // side))
    shrink = ceil(side / min(LARGEST_TILE_PIXELS, max(TALLEST_PIXELS // num_groups, TILE_PIXELS + 8)))
    across, down = (ceil(pixels * zoom / shrink) + 2 + GAP for pixels in (width, height))  # a line on either side
    free = WIDEST_PIXELS - 2 * MARGIN - (LABEL_PIXELS + LABEL_GAP if labeled else 0)
    columns = max((free + GAP) // across, 1)
    rows = max(round(SHEET_PIXELS / down / num_groups), 1)
    images = columns * rows if wanted is None else max(wanted // num_groups, 1)
    images = min(images, largest_group)
    return Layout(min(columns, images), images, zoom, shrink)


def data_card(
    title: str, captions: Sequence[str], groups: Sequence[Group], layout: Layout, footer: str = ""
) -> Image.Image:
    """Draw a card: the title, the captions, the images of each group beside its name, count and share, the footer.

    Args:
        title, captions, footer: one line each; what is too long is broken, what is far too long is cut.
        groups: at least one; images of one shape.
        layout: of `plan`.

    Raises:
        ValueError: no group, or arrays that hold no images.
    """
    if not groups:
        raise ValueError("data card: needs at least one group of images, got none")
    for group in groups:
        check_images(group.images)
    labels = _labels(groups)
    sheets = [_sheet(group.images, layout) for group in groups]
    beside = max((label.width + LABEL_GAP for label in labels), default=0)
    width = max(beside + max(sheet.width for sheet in sheets) + 2 * MARGIN, NARROWEST_PIXELS)
    head = _text([(title, TITLE, INK), *((caption, CAPTION, MUTED) for caption in captions)], width - 2 * MARGIN, 3)
    foot = _text([(footer, COUNT, MUTED)], width - 2 * MARGIN, 3)
    spacing = ROW_GAP if max(map(len, (group.images for group in groups))) <= layout.columns else GROUP_GAP
    heights = [max(sheet.height, label.height) for sheet, label in zip(sheets, labels or sheets, strict=True)]
    body = sum(heights) + spacing * (len(groups) - 1)
    picture = Image.new("RGB", (width, head.height + body + foot.height + 2 * MARGIN + 2 * LABEL_GAP), PAPER)
    picture.paste(head, (MARGIN, MARGIN))
    top = MARGIN + head.height + LABEL_GAP
    for number, (sheet, height) in enumerate(zip(sheets, heights, strict=True)):
        if labels:
            picture.paste(labels[number], (MARGIN, top + (height - labels[number].height) // 2))
        picture.paste(sheet, (MARGIN + beside, top + (height - sheet.height) // 2))
        top += height + spacing
    picture.paste(foot, (MARGIN, top - spacing + LABEL_GAP))
    return picture


def _sheet(images: NDArray[np.uint8], layout: Layout) -> Image.Image:
    """The images of one group in reading order."""
    tiles = [_tile(image, layout) for image in images]
    tiles = tiles or [Image.new("RGB", _tile(np.zeros_like(images, shape=images.shape[1:]), layout).size, PAPER)]
    across, down = tiles[0].width + GAP, tiles[0].height + GAP
    columns, rows = min(layout.columns, len(tiles)), ceil(len(tiles) / layout.columns)
    sheet = Image.new("RGB", (columns * across - GAP, rows * down - GAP), PAPER)
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % layout.columns * across, number // layout.columns * down))
    return sheet


def _tile(image: NDArray[np.uint8], layout: Layout) -> Image.Image:
    """An image at its size, within a fine line: white images would run into the paper."""
    picture = as_picture(image).convert("RGB")
    if layout.shrink > 1:
        picture = picture.reduce(layout.shrink)
    elif layout.zoom > 1:
        picture = picture.resize((picture.width * layout.zoom, picture.height * layout.zoom), Image.Resampling.NEAREST)
    return ImageOps.expand(picture, border=1, fill=EDGE)


def _labels(groups: Sequence[Group]) -> list[Image.Image]:
    """Name and note of each class over a bar of its size, all equally wide; nothing where there are no classes."""
    if not any(group.name for group in groups):
        return []
    largest = max(1, *(group.count for group in groups))
    texts = [_text([(group.name, NAME, INK), (group.note, COUNT, MUTED)], LABEL_PIXELS, 2) for group in groups]
    width = max(LEAST_LABEL_PIXELS, *(text.width for text in texts))
    return [_label(text, width, group.count / largest) for text, group in zip(texts, groups, strict=True)]


def _label(text: Image.Image, width: int, share: float) -> Image.Image:
    label = Image.new("RGB", (width, text.height + 2 * BAR_PIXELS), PAPER)
    label.paste(text, (0, 0))
    draw, top = ImageDraw.Draw(label), text.height + BAR_PIXELS
    draw.rectangle((0, top, width - 1, label.height - 1), fill=RULE)
    if share:
        draw.rectangle((0, top, max(round(width * share) - 1, 1), label.height - 1), fill=BLUE)
    return label


def _text(parts: Sequence[tuple[str, int, str]], width_pixels: int, max_lines: int) -> Image.Image:
    """Paragraphs of (text, height in pixels, color), each of at most so many lines, as wide as they need."""
    lines = []
    for text, pixels, color in parts:
        face = face_for(text, pixels)
        lines += [(line, face, color, round(1.3 * pixels)) for line in wrap(text, face, width_pixels, max_lines)]
    width = max((ceil(face.getlength(line)) for line, face, _, _ in lines), default=1)
    picture = Image.new("RGB", (width, max(sum(pitch for *_, pitch in lines), 1)), PAPER)
    draw, top = ImageDraw.Draw(picture), 0
    for line, face, color, pitch in lines:
        draw.text((0, top + pitch // 2), line, fill=color, font=face, anchor="lm")
        top += pitch
    return picture
