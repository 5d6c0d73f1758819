"""Strips: a few images, one per row, followed through time, one step per column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.labeled import labeled
from ddpm.drawing.look import type_face

SMALLEST_NAMED_PIXELS = 12
"""Of letters; where `t = 250` fits only smaller, `250` is larger and reads better."""


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
        ValueError: frames that hold no images, or labels that do not match the columns or fit over them.
    """
    if frames.ndim != 5 or 0 in frames.shape:
        raise ValueError(
            f"strip: frames must have the shape (columns, rows, height, width, channels), got {frames.shape}"
        )
    columns = len(frames)
    if len(labels) != columns:
        raise ValueError(f"strip: each of the {columns} columns needs one label, got {len(labels)} labels")
    texts = fit_labels(labels, frames.shape[3] * zoom)
    return labeled(frames.swapaxes(0, 1), zoom, column_labels=texts, caption=caption)


def fit_labels(labels: Sequence[int], width_pixels: int) -> list[str]:
    """`t = 250` for every label or, where that would be too small over a tile, `250`."""
    named = [f"t = {label}" for label in labels]
    smallest = type_face(SMALLEST_NAMED_PIXELS)
    return named if max(map(smallest.getlength, named)) <= width_pixels else [str(label) for label in labels]
