"""From stored images to what features are made of: pooled pixels, or the input of the Inception network."""

from math import gcd
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

StoredImages: TypeAlias = NDArray[np.uint8]
"""(images, height, width, 1 or 3), 0..255, as saved."""

Features: TypeAlias = NDArray[np.float32]
"""(images, dim)."""

INCEPTION_SIDE = 299
POOLED_SIDE = 16  # 16 x 16 x 3 = 768 features at most: as many as fid_768 has


def require_stored(images: StoredImages) -> StoredImages:
    """Pass images on if they have the form in which samples are saved: metrics never see floats.

    Raises:
        ValueError: not uint8 (images, height, width, 1 or 3), or no image.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or images.size == 0:
        got = f"{images.dtype} {images.shape}"
        raise ValueError(f"images must be uint8 (images, height, width, 1 or 3) as they are saved, got {got}")
    return images


def pooled_pixels(images: StoredImages) -> Features:
    """Average-pooled pixels in [0, 1]: means over f x f cells, f the smallest divisor of both sides that leaves <= 16.

    Sides up to 16 stay as they are, 28 gives 14, 32, 64 and 128 give 16. The sums are whole numbers, hence exact.

    Returns:
        (images, height/f * width/f * channels).

    Raises:
        ValueError: not stored images, or sides that no f brings to 8..16, such as primes.
    """
    num_images, height, width, channels = require_stored(images).shape
    common = gcd(height, width)
    fitting = (f for f in range(1, common + 1) if common % f == 0 and max(height, width) <= f * POOLED_SIDE)
    cell = next(fitting, 0)
    if cell == 0 or (cell > 1 and min(height, width) < cell * POOLED_SIDE // 2):
        raise ValueError(
            f"features pixels: sides must pool to 8..16 by one whole number, got {height}x{width}: crop them"
        )
    cells = images.reshape(num_images, height // cell, cell, width // cell, cell, channels)
    sums = cells.sum(axis=(2, 4), dtype=np.int64)
    means: Features = (sums / (255 * cell * cell)).astype(np.float32)
    return means.reshape(num_images, -1)


def tf1_input(x: Tensor) -> Tensor:
    """Resize and scale as TensorFlow 1 did: bilinear without half-pixel centers or antialiasing, (x - 128) / 128.

    Args:
        x: (batch, 3, height, width), 0..255, float32.

    Returns:
        (batch, 3, 299, 299), in [-1, 1).
    """
    rows, columns = (_tf1_resize_matrix(side).to(x.device) for side in x.shape[2:])
    return (rows @ x @ columns.T - 128.0) / 128.0


def _tf1_resize_matrix(side: int) -> Tensor:
    """(299, side): output pixel i reads the source at i * side / 299, computed in float32 as TensorFlow did."""
    source = torch.arange(INCEPTION_SIDE, dtype=torch.float32) * torch.tensor(side / INCEPTION_SIDE)
    low = source.long()
    share = source - low
    matrix = torch.zeros(INCEPTION_SIDE, side)
    matrix.scatter_add_(1, low[:, None], (1.0 - share)[:, None])
    return matrix.scatter_add_(1, (low + 1).clamp_max(side - 1)[:, None], share[:, None])


def pytorch_input(x: Tensor) -> Tensor:
    """Resize and scale as pytorch-fid does: `F.interpolate`, bilinear with half-pixel centers, 2 x / 255 - 1.

    Args:
        x: (batch, 3, height, width), 0..255, float32.

    Returns:
        (batch, 3, 299, 299), in [-1, 1].
    """
    size = (INCEPTION_SIDE, INCEPTION_SIDE)
    return 2.0 * F.interpolate(x / 255.0, size=size, mode="bilinear", align_corners=False) - 1.0
