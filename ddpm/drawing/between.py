"""Rows of tiles between two sources: source, mixes from the left one to the right one, source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.labeled import labeled

Pixels = NDArray[np.uint8]


def between(
    left: Pixels,
    mixes: Pixels,
    right: Pixels,
    weights: Sequence[float],
    zoom: int,
    row_labels: Sequence[str] = (),
    caption: str = "",
) -> Image.Image:
    """Draw source | mixes | source in every row, under the weight of the right source.

    Args:
        left, right: uint8 (rows, height, width, channels), 1 or 3 channels: the sources of each row.
        mixes: uint8 (rows, len(weights), height, width, channels).
        weights: of the right source, 0..1, one for each column of mixes.
        zoom: finished pixels per image pixel, at least 1.
        row_labels, caption: see `labeled`.

    Raises:
        ValueError: arrays or weights that do not agree, or what `labeled` refuses.
    """
    rows, columns, *shape = mixes.shape
    if left.shape != (rows, *shape) or right.shape != left.shape:
        raise ValueError(f"between: {rows} rows need one source of {tuple(shape)} on each side, got {left.shape}")
    if len(weights) != columns:
        raise ValueError(f"between: each of the {columns} mixes needs one weight, got {len(weights)}")
    tiles = np.concatenate([left[:, None], mixes, right[:, None]], axis=1)
    names = [f"{weight:.2f}".rstrip("0").rstrip(".") for weight in weights]
    return labeled(tiles, zoom, row_labels, ["source", *names, "source"], caption)
