"""What KimRass/DDPM does to images before its FID, defects included, so that its number can be made again.

Its samples are stored as JPEG sheets with halved chroma, and real images are flipped at random. Each of these alone
moves an FID, so a number made this way is comparable only with numbers made this way.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ddpm import randomness
from ddpm.data.grids import Grid, cut, lay
from ddpm.data.store import LazyImages

CHROMA_HALVED = 2
"""PIL's name for 4:2:0."""

WHITE = 255
BLOCK_IMAGES = 1024


def through_jpeg_grids(
    images: NDArray[np.uint8], *, rows: int = 10, columns: int = 10, padding: int = 1, quality: int = 100
) -> NDArray[np.uint8]:
    """Send samples through sheets of JPEG with halved chroma (4:2:0), as the published ones of KimRass/DDPM are.

    Cells that the last sheet lacks are white, like the padding.

    Args:
        images: uint8 (images, height, width, 3).
        rows, columns: cells of a sheet.
        padding: white pixels around and between the cells.
        quality: 1..100, of the quantization; 100 divides by 1.

    Returns:
        What is read back, shaped like images.

    Raises:
        ValueError: images that are not RGB, or a number out of range.
    """
    _require_rgb(images)
    for name, value, least, most in (
        ("rows", rows, 1, None),
        ("columns", columns, 1, None),
        ("padding", padding, 0, None),
        ("quality", quality, 1, 100),
    ):
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"{least}..{most}"
            raise ValueError(f"JPEG sheets: {name} must be {limit}, got {value}; the published ones have 10x10, 1, 100")
    grid = Grid(rows, columns, padding, *images.shape[1:3])
    read_back = np.empty(images.shape, dtype=np.uint8)
    for first in range(0, len(images), rows * columns):
        cells = images[first : first + rows * columns]
        read_back[first : first + len(cells)] = cut(_through_jpeg(lay(cells, grid, WHITE), quality), grid)[: len(cells)]
    return read_back


def flipped(images: LazyImages, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Flip real images left-right with probability 1/2, as KimRass/DDPM does before it takes their features.

    There the flips change from run to run; here each is a function of the image's number alone.

    Args:
        images: uint8 (images, height, width, 3).
        numbers: (images,), 0..2^63-1: which image of the data set each one is.

    Raises:
        ValueError: images that are not RGB, or another count of numbers.
    """
    _require_rgb(images)
    if numbers.shape != images.shape[:1]:
        raise ValueError(f"flips: must have one number for each of {len(images)} images, got shape {numbers.shape}")
    index = torch.from_numpy(numbers.astype(np.int64))  # a copy, because the array may be read-only
    mirrored = (randomness.uniform(0, "seed0 flip", 0, index, 1) < 0.5).numpy().reshape(-1, 1, 1, 1)
    found = np.empty(images.shape, dtype=np.uint8)
    for first in range(0, len(images), BLOCK_IMAGES):
        block = slice(first, first + BLOCK_IMAGES)
        some = np.asarray(images[block])
        found[block] = np.where(mirrored[block], some[:, :, ::-1], some)
    return found


def _through_jpeg(sheet: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=quality, subsampling=CHROMA_HALVED)
    with Image.open(file, formats=("JPEG",)) as image:
        return np.array(image, dtype=np.uint8)


def _require_rgb(images: LazyImages) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        raise ValueError(
            f"KimRass/DDPM: its protocol is for uint8 images (N, height, width, 3), got {images.dtype} {images.shape}; "
            "gray images have none"
        )
