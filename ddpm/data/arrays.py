"""Images as arrays: .npy files, and the .npz of the evaluator of Dhariwal and Nichol (2021) (ADM).

Nothing is unpickled, and neither kind is read into memory as a whole.
"""

import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.frames import DAMAGE as FILE_DAMAGE

DAMAGE = (*FILE_DAMAGE, TypeError, tokenize.TokenError)
"""What numpy raises for a damaged header, too."""
MEMBER = "arr_0"
"""The images of an ADM file; `arr_1`, if it is there, holds labels."""

CHUNK_BYTES = 2**26
CHUNK_IMAGES = 256

Shape = tuple[int, int, int, int]


def open_npy(path: Path) -> NDArray[np.uint8]:
    """Open uint8 images (N, height, width, 1 or 3) as a read-only memory map.

    Raises:
        ValueError: damaged, or an array of another type or shape.
    """
    array = map_npy(path)
    require_images(str(path), array.dtype, array.shape)
    return array


def map_npy(path: Path) -> NDArray[Any]:
    """Open an array of any type and shape as a read-only memory map.

    Raises:
        ValueError: damaged, or an array of Python objects.
    """
    try:
        # not np.load, which would take a zip or a pickle of this name for what it is
        return np.lib.format.open_memmap(path, mode="r")
    except DAMAGE as error:
        raise ValueError(f"{path}: must be a whole .npy file ({_first_line(error)}); save it again") from None


def npz_shape(path: Path) -> Shape:
    """The shape of the images of an ADM file; no pixel is read.

    Raises:
        ValueError: damaged, without `arr_0`, or with images of another type or shape.
    """
    with _opened(path) as archive:
        found = [name.removesuffix(".npy") for name in archive.namelist()]
        if MEMBER not in found:
            raise ValueError(
                f"{path}: must hold images as {MEMBER}, got {', '.join(found[:10]) or 'no arrays'}; "
                "save them by np.savez(file, images), or give the .npy file"
            )
        try:
            with archive.open(f"{MEMBER}.npy") as member:
                dtype, shape, in_columns = _read_header(member)
        except DAMAGE as error:
            raise _damaged(path, error) from None
    if in_columns:
        raise ValueError(f"{path}: {MEMBER} must be stored in C order, got Fortran order; use np.ascontiguousarray")
    return require_images(str(path), dtype, shape)


def npz_chunks(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Stream the images of an ADM file, which `npz_shape` has accepted; the zip's checksum is verified on the way.

    Raises:
        ValueError: damaged.
    """
    num_images, *image = npz_shape(path)
    image_bytes = int(np.prod(image))
    with _opened(path) as archive:
        try:
            with archive.open(f"{MEMBER}.npy") as member:
                _read_header(member)
                for first, last in spans(num_images, image_bytes):
                    content = member.read((last - first) * image_bytes)
                    yield np.frombuffer(content, dtype=np.uint8).reshape(last - first, *image)
                if member.read(1):  # also reaches the end, where the checksum is compared
                    raise ValueError("more bytes than its shape says")
        except DAMAGE as error:
            raise _damaged(path, error) from None


def spans(num_images: int, image_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last (outside) of chunks of up to 256 images and 64 MiB, at least one image each."""
    step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // image_bytes))
    for first in range(0, num_images, step):
        yield first, min(first + step, num_images)


def require_images(place: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Shape:
    """Refuse what are not uint8 images (N, height, width, 1 or 3), and say what they look like instead.

    Raises:
        ValueError: another type or shape, or no image.
    """
    if dtype == np.uint8 and len(shape) == 4 and shape[3] in (1, 3) and 0 not in shape:
        return shape[0], shape[1], shape[2], shape[3]
    if dtype != np.uint8:
        way_out = "metrics see images as they are saved: round them to 0..255 as for a PNG, and store uint8"
    elif len(shape) == 4 and shape[1] in (1, 3):
        way_out = "this is channels first: store images.transpose(0, 2, 3, 1)"
    elif len(shape) == 3:
        way_out = "gray images need a last axis: store images[..., None]"
    else:
        way_out = "store one row per image"
    raise ValueError(f"{place}: must hold uint8 images (N, height, width, 1 or 3), got {dtype} {shape}; {way_out}")


def _read_header(member: IO[bytes]) -> tuple[np.dtype[np.generic], tuple[int, ...], bool]:
    """Type, shape, and whether the array is in Fortran order."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):  # later ones are for names of fields, which images have not
        raise ValueError(f"version {version} of the .npy format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read(member)
    return dtype, shape, in_columns


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: must be a whole .npz file ({_first_line(error)}); save it again")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
