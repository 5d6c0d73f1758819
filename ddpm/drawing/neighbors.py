"""Samples beside what they lie next to in the training set, and how near that is compared with unseen images."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.drawing.grid import as_picture, check_images
from ddpm.drawing.lettering import face_for, wrap
from ddpm.drawing.look import BLUE, DOTS_PER_INCH, INK, MUTED, ORANGE, PAPER, as_image, name_axes, page

WIDTH_PIXELS = 1000
TITLE_PIXELS, NOTE_PIXELS, LETTER_PIXELS = 22, 17, 15
GAP, SAMPLE_GAP, GROUP_GAP, MARGIN = 6, 14, 34, 12
EDGE = 3  # pixels of color around a sample


def neighbor_rows(
    samples: NDArray[np.uint8],
    neighbors: NDArray[np.uint8],
    under_samples: Sequence[str],
    under_neighbors: Sequence[Sequence[str]],
    zoom: int,
    title: str,
    note: str,
) -> Image.Image:
    """Draw each sample with its neighbors to the right, the nearest first; as many such rows side by side as fit.

    Args:
        samples: uint8 (rows, height, width, channels).
        neighbors: uint8 (rows, k, height, width, channels).
        under_samples, under_neighbors: a text for each of them, (rows,) and (rows, k).
        zoom: finished pixels per image pixel.
        title: in bold size over all; note: below it, broken where it is too long.

    Raises:
        ValueError: arrays that hold no images or do not fit.
    """
    check_images(samples)
    if neighbors.ndim != 5 or neighbors.shape[::2] != (len(samples), *samples.shape[1::2]) or 0 in neighbors.shape:
        raise ValueError(f"neighbors must be rows of images like {samples.shape}, got {neighbors.shape}")
    count = neighbors.shape[1]
    height, width = (side * zoom + 2 * EDGE for side in samples.shape[1:3])
    texts = [*under_samples, *(text for row in under_neighbors for text in row)]
    across = max(width, ceil(max(face_for(text, LETTER_PIXELS).getlength(text) for text in texts)) + 2)
    down = height + LETTER_PIXELS + 2 * GAP
    group = across + SAMPLE_GAP + count * (across + GAP)
    groups = max((WIDTH_PIXELS - 2 * MARGIN + GROUP_GAP) // (group + GROUP_GAP), 1)
    groups = min(groups, len(samples))
    rows = ceil(len(samples) / groups)
    inner = groups * (group + GROUP_GAP) - GROUP_GAP
    total = max(WIDTH_PIXELS, inner + 2 * MARGIN)
    head = _text(title, note, total - 2 * MARGIN)
    picture = Image.new("RGB", (total, head.height + rows * down + 3 * MARGIN), PAPER)
    picture.paste(head, (MARGIN, MARGIN))
    draw = ImageDraw.Draw(picture)
    for number, sample in enumerate(samples):
        left = MARGIN + number // rows * (group + GROUP_GAP)
        top = head.height + 2 * MARGIN + number % rows * down
        tiles = [(sample, under_samples[number], BLUE)]
        tiles += [(neighbors[number, k], under_neighbors[number][k], PAPER) for k in range(count)]
        for place, (image, text, edge) in enumerate(tiles):
            at = left + place * (across + GAP) + (SAMPLE_GAP - GAP if place else 0)
            tile = as_picture(image.repeat(zoom, axis=0).repeat(zoom, axis=1)).convert("RGB")
            begin = at + (across - width) // 2
            draw.rectangle((begin, top, begin + width - 1, top + height - 1), fill=edge)
            picture.paste(tile, (begin + EDGE, top + EDGE))
            middle = at + across / 2
            face = face_for(text, LETTER_PIXELS)
            draw.text((middle, top + height + 3), text, fill=MUTED if place else BLUE, font=face, anchor="mt")
    return picture


def _text(title: str, note: str, width_pixels: int) -> Image.Image:
    """A title, and below it a note of as many lines as it needs."""
    lines = [(line, TITLE_PIXELS, INK) for line in wrap(title, face_for(title, TITLE_PIXELS), width_pixels, 3)]
    lines += [(line, NOTE_PIXELS, MUTED) for line in wrap(note, face_for(note, NOTE_PIXELS), width_pixels, 6)]
    picture = Image.new("RGB", (width_pixels, sum(pixels + 8 for _, pixels, _ in lines)), PAPER)
    draw, top = ImageDraw.Draw(picture), 0
    for line, pixels, color in lines:
        draw.text((0, top), line, fill=color, font=face_for(line, pixels))
        top += pixels + 8
    return picture


def distance_histogram(
    of_samples: NDArray[np.float64], of_held_out: NDArray[np.float64], across: str, title: str, findings: str
) -> Image.Image:
    """Draw how far samples and held-out images lie from the nearest training image, with both medians.

    Args:
        of_samples, of_held_out: (images,) distances; the latter may be empty: then only samples are drawn.
        across: name and unit of the distance.
        title: in bold size over all; findings: below it, broken where they are too long.
    """
    edges = np.linspace(0.0, np.concatenate([of_samples, of_held_out]).max() * 1.02 or 1.0, 41).tolist()
    head = _text(title, findings, WIDTH_PIXELS - 2 * MARGIN)
    with page(WIDTH_PIXELS / DOTS_PER_INCH, 2.6) as figure:
        axes = figure.subplots()
        shown = (("samples", of_samples, BLUE, "-"), ("held-out images", of_held_out, ORANGE, "--"))
        for name, distances, color, line in shown:
            if not len(distances):
                continue
            median = float(np.median(distances))
            axes.hist(distances, edges, histtype="stepfilled", color=color, alpha=0.18)
            axes.hist(distances, edges, histtype="step", color=color, linestyle=line, linewidth=1.5)
            label = f"{len(distances):,} {name}, median {median:.1f}"
            axes.axvline(median, color=color, linestyle=line, linewidth=1.3, label=label)
        axes.set_xlim(0.0, edges[-1])
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.2), ncols=2)
        name_axes(axes, "", across, "images")
        chart = as_image(figure)
    picture = Image.new("RGB", (WIDTH_PIXELS, head.height + chart.height + 2 * MARGIN), PAPER)
    picture.paste(head, (MARGIN, MARGIN))
    picture.paste(chart, (0, head.height + 2 * MARGIN))
    return picture
