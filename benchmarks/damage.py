"""Real photographs, generated faces out of grids, and both damaged in known ways: arrays in, arrays out."""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ddpm import randomness

Pixels = NDArray[np.uint8]
SEED = 0
SHIFT = 4
"""Pixels by which the JPEG blocks lie off those of the stored photographs, see `jpeg`."""
CELLS, SIDE, LINE = 10, 64, 1


def read_photos(path: Path, count: int) -> Pixels:
    """So many photographs of a zip, drawn without repetition in a random order that the seed decides.

    Returns:
        uint8 (count, height, width, 3).

    Raises:
        ValueError: no zip, fewer photographs than asked for, or photographs of several sizes.
    """
    if not path.is_file():
        raise ValueError(f"--images: must be a zip of photographs, found no file {path}; name one")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        if len(names) < count:
            raise ValueError(f"--count: the zip must hold two halves, {count} photographs, got {len(names)}; lower it")
        order = randomness.permutation(SEED, "sensitivity", 0, len(names))[:count].tolist()
        photos = [_decode(archive.read(names[number])) for number in order]
    if len({photo.shape for photo in photos}) != 1:
        raise ValueError(f"{path}: photographs must have one size, got several; resize them first")
    return np.stack(photos)


def _decode(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def read_grids(folder: Path) -> Pixels:
    """The faces of all JPEG grids of a folder: 10x10 cells of 64x64, white lines of 1 pixel around them.

    Returns:
        uint8 (100 * grids, 64, 64, 3).

    Raises:
        ValueError: no grids, or one of another size.
    """
    paths, step = sorted(folder.glob("*.jpg")), SIDE + LINE
    if not paths:
        raise ValueError(f"--grids: must be a folder of *.jpg grids, got none in {folder}; name another or none")
    cells = []
    for path in paths:
        grid, wanted = _decode(path.read_bytes()), CELLS * step + LINE
        if grid.shape != (wanted, wanted, 3):
            raise ValueError(f"{path}: a grid must have {wanted}x{wanted} pixels, got {grid.shape}; leave it out")
        places = [LINE + step * number for number in range(CELLS)]
        cells += [grid[row : row + SIDE, column : column + SIDE] for row in places for column in places]
    return np.stack(cells)


def noisy(images: Pixels, strength: float) -> Pixels:
    """Add Gaussian noise, round and clip; the noise of image i is the same at all strengths.

    Args:
        strength: standard deviation of the noise in levels of 255; 0 returns the images.
    """
    if not strength:
        return images
    noise = randomness.normal(SEED, "sensitivity noise", 0, torch.arange(len(images)), images.shape[1:]).numpy()
    return np.clip(np.rint(images + strength * noise), 0, 255).astype(np.uint8)


def jpeg(images: Pixels, quality: int | None) -> Pixels:
    """Store as JPEG of a quality (libjpeg's scale), with halved chroma (4:2:0), and read again; None: leave them.

    The photographs at hand are themselves JPEGs: storing one again with its own blocks and its own quality changes next
    to nothing, while a higher quality does. So the image is moved by half a block against the blocks.
    """
    if quality is None:
        return images
    return np.stack([_stored(image, quality) for image in images])


def _stored(image: Pixels, quality: int) -> Pixels:
    buffer, pad = io.BytesIO(), (SHIFT, 0)
    Image.fromarray(np.pad(image, (pad, pad, (0, 0)), mode="edge")).save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0"
    )
    return _decode(buffer.getvalue())[SHIFT:, SHIFT:]
