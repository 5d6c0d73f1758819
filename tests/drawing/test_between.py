"""Source, mixes, source: every tile is where it belongs."""

import hashlib

import numpy as np
import pytest

from ddpm.drawing.between import between
from ddpm.drawing.grid import PADDING

ZOOM, WEIGHTS = 3, [k / 9 for k in range(10)]
GOLDEN = "49fa7b8e7399eb8d6e2eccffbdda266c7d0ec1b1c7752c93485f8eabc2dcc2dd"


def synthetic(rows: int, channels: int = 1) -> np.ndarray:
    """(rows, 12, 8, 10, channels); no two tiles are alike, and none looks alike turned around."""
    count = rows * 12 * 8 * 10 * channels
    return (np.arange(count) * 7919 % 251 + 4).astype(np.uint8).reshape(rows, 12, 8, 10, channels)


def drawn(tiles: np.ndarray, **texts):
    return between(tiles[:, 0], tiles[:, 1:-1], tiles[:, -1], WEIGHTS, ZOOM, **texts)


def sheet_of(picture, rows: int) -> np.ndarray:
    """The part of the picture that holds tiles: the lower left one, right of the row labels."""
    height, width = rows * (8 * ZOOM + PADDING) + PADDING, 12 * (10 * ZOOM + PADDING) + PADDING
    return np.asarray(picture)[-height:, picture.width - width :]


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_tile_stands_in_its_place(rows, channels):
    tiles = synthetic(rows, channels)
    sheet = sheet_of(drawn(tiles, row_labels=[f"t = {row}" for row in range(rows)]), rows)
    black = np.ones(sheet.shape[:2], bool)
    for row in range(rows):
        for column in range(12):
            top, left = PADDING + row * (8 * ZOOM + PADDING), PADDING + column * (10 * ZOOM + PADDING)
            found = sheet[top : top + 8 * ZOOM, left : left + 10 * ZOOM]
            black[top : top + 8 * ZOOM, left : left + 10 * ZOOM] = False
            assert np.array_equal(found[::ZOOM, ::ZOOM], np.broadcast_to(tiles[row, column], (8, 10, 3)))
            assert np.array_equal(found, found[::ZOOM, ::ZOOM].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
    assert not sheet[black].any()  # nothing but padding is left


def test_golden_layout():
    sheet = sheet_of(drawn(synthetic(9)), 9)
    assert sheet.shape == (9 * 30 + 6, 12 * 36 + 6, 3)
    assert hashlib.sha256(sheet.tobytes()).hexdigest() == GOLDEN


def test_refusals():
    tiles = synthetic(2)
    with pytest.raises(ValueError, match=r"2 rows need one source of \(8, 10, 1\) on each side, got \(1, 8, 10, 1\)"):
        between(tiles[:1, 0], tiles[:, 1:-1], tiles[:, -1], WEIGHTS, ZOOM)
    with pytest.raises(ValueError, match="each of the 10 mixes needs one weight, got 9"):
        between(tiles[:, 0], tiles[:, 1:-1], tiles[:, -1], WEIGHTS[:9], ZOOM)
