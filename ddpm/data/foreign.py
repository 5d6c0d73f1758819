"""Generated images as other programs store them: arrays, files of pictures, or sheets of many images.

Whatever the form, they come out as uint8 (images, height, width, channels) in natural order of the names, a chunk at
a time. Images that are all gray have 1 channel; else gray ones are repeated to RGB, and palettes are looked up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.arrays import npz_chunks, npz_shape, open_npy, spans
from ddpm.data.grids import Grid, cut, divide, num_empty, padding_color, shorter
from ddpm.data.pictures import ARCHIVES, SUFFIXES, Header, Pictures, decode_pictures, list_pictures, read_headers
from ddpm.data.store import write_images

Chunks = Iterator[NDArray[np.uint8]]


@dataclass(frozen=True)
class ForeignImages:
    """Images of another program; nothing but headers has been read."""

    path: Path
    num_images: int
    shape: tuple[int, int, int]
    """(height, width, channels) of each image; 1 or 3 channels."""
    format: str
    """How they were stored, for the record: `uint8 npy`, `npz`, `png folder`, `jpeg grids 10x10 padding 1`, ..."""
    num_jpeg: int
    """JPEG files among them, by content and not by name."""
    num_empty_cells: int
    """Cells at the end of the last sheet that held no image and were left out."""
    chunks: Callable[[], Chunks]
    """Reads the images from the start: uint8 (some images, height, width, channels), at most 64 MiB or one sheet each.

    Raises ValueError: damaged files, all of them named, or a picture that is not fully opaque.
    """
    array: NDArray[np.uint8] | None = None
    """The images themselves where they can be mapped as they are."""


def open_images(path: Path, *, grid: tuple[int, int] | None = None, padding: int = 0) -> ForeignImages:
    """Open images that another program has generated.

    Args:
        path: an .npy file (uint8, NHWC), an .npz file with `arr_0` (the form of Dhariwal and Nichol 2021), a folder
            or .zip or .tar of PNG and JPEG files, nested or not, or one such file.
        grid: rows and columns of cells, where every picture is a sheet of images; see `ddpm.data.grids`. The last
            sheet may have fewer rows or columns, or empty cells at its end.
        padding: pixels around and between the cells of a sheet.

    Raises:
        ValueError: nothing there, damaged, another type, sizes that differ, or sheets that do not divide.
    """
    if not path.exists():
        raise ValueError(f"{path}: generated images must be there, got no such file or folder; check the path")
    suffix = path.suffix.lower()
    if grid is None and padding:
        raise ValueError(f"{path}: padding lies between the cells of a grid, got {padding} without a grid; give both")
    if grid is not None and path.is_file() and suffix in (".npy", ".npz"):
        raise ValueError(f"{path}: a grid is for sheets of pictures, got an array; leave the grid out")
    if path.is_dir() or suffix in ARCHIVES:
        kind = "folder" if path.is_dir() else suffix[1:]
        return _open_pictures(path, kind) if grid is None else _open_grids(path, grid, padding)
    if suffix == ".npy":
        return _open_npy(path)
    if suffix == ".npz":
        num_images, *image = npz_shape(path)
        return ForeignImages(path, num_images, (image[0], image[1], image[2]), "npz", 0, 0, partial(npz_chunks, path))
    if suffix not in SUFFIXES or grid is None:
        raise ValueError(
            f"{path}: images must be a folder, .zip or .tar of PNG or JPEG files, an .npy, an .npz, or one PNG or JPEG "
            f"sheet with its grid, got {path.name}; give the grid, or the folder"
        )
    return _open_grids(path, grid, padding)


def as_array(
    foreign: ForeignImages, scratch: Path, tick: Callable[[int], object] = lambda _: None
) -> NDArray[np.uint8]:
    """The images as one read-only memory map.

    Args:
        foreign: what `open_images` found. An .npy file is mapped where it lies.
        scratch: the .npy file that everything else is written to; replaced where it exists.
        tick: called with the number of images that a written chunk adds.

    Returns:
        uint8 (num_images, height, width, channels).

    Raises:
        ValueError: damaged files, all of them named, or a picture that is not fully opaque.
    """
    if foreign.array is not None:
        return foreign.array

    def counted() -> Chunks:
        for chunk in foreign.chunks():
            yield chunk
            tick(len(chunk))

    unfinished = scratch.with_name(f"{scratch.name}.tmp")
    try:
        write_images(unfinished, (foreign.num_images, *foreign.shape), counted())
        unfinished.replace(scratch)
    finally:
        unfinished.unlink(missing_ok=True)
    return open_npy(scratch)


def jpeg_warning(foreign: ForeignImages) -> str | None:
    """One line about what JPEG does to a metric, or None where no file is one."""
    if not foreign.num_jpeg:
        return None
    return (
        f"{foreign.path}: {foreign.num_jpeg} files are JPEG, whose losses count as errors of the model: "
        "the same samples have been seen to score FID 5.80 as JPEG and 2.50 without; store PNG or .npy"
    )


def _open_npy(path: Path) -> ForeignImages:
    array = open_npy(path)
    num_images, *image = array.shape

    def chunks() -> Chunks:
        for first, last in spans(num_images, int(np.prod(image))):
            yield np.ascontiguousarray(array[first:last])

    return ForeignImages(path, num_images, (image[0], image[1], image[2]), "uint8 npy", 0, 0, chunks, array)


def _open_pictures(path: Path, kind: str) -> ForeignImages:
    pictures = list_pictures(path)
    headers = read_headers(pictures)
    height, width = headers[0].height, headers[0].width
    for name, header in zip(pictures.names, headers, strict=True):
        _require_size(pictures, name, header, (height, width))
    channels = _channels(headers)

    def chunks() -> Chunks:
        decoded = decode_pictures(pictures, channels)
        for first, last in spans(len(headers), height * width * channels):
            yield np.stack([image for _, image in zip(range(first, last), decoded, strict=False)])

    return ForeignImages(
        path, len(headers), (height, width, channels), f"{_kinds(headers)} {kind}", _num_jpeg(headers), 0, chunks
    )


def _open_grids(path: Path, shape: tuple[int, int], padding: int) -> ForeignImages:
    pictures = list_pictures(path)
    headers = read_headers(pictures)
    first, last = headers[0], headers[-1]
    full = divide(f"{path}: {pictures.names[0]}", (first.height, first.width), shape, padding)
    for name, header in zip(pictures.names[:-1], headers[:-1], strict=True):
        _require_size(pictures, name, header, (first.height, first.width))
    end = shorter(f"{path}: {pictures.names[-1]}", (last.height, last.width), full)
    channels = _channels(headers)
    empty = _look(pictures, headers, full, end, channels)
    num_images = (len(headers) - 1) * full.rows * full.columns + end.rows * end.columns - empty

    def chunks() -> Chunks:
        left = num_images
        for number, sheet in enumerate(decode_pictures(pictures, channels), start=1):
            cells = cut(sheet, full if number < len(headers) else end)[:left]
            left -= len(cells)
            yield cells

    stored = f"{_kinds(headers)} grids {shape[0]}x{shape[1]} padding {padding}"
    return ForeignImages(
        path, num_images, (full.height, full.width, channels), stored, _num_jpeg(headers), empty, chunks
    )


def _look(pictures: Pictures, headers: Sequence[Header], full: Grid, end: Grid, channels: int) -> int:
    """Check the lines of the first and the last sheet, and count the empty cells at the end."""
    empty = 0
    for number, grid in {0: full, len(headers) - 1: end}.items():
        item = pictures.items[number]
        sheet = next(decode_pictures(Pictures(pictures.place, [item], pictures.read), channels))
        color = padding_color(f"{pictures.place}: {item.name}", sheet, grid)
        empty = num_empty(cut(sheet, grid), color, lossy=headers[number].jpeg)
    if empty == end.rows * end.columns:
        raise ValueError(f"{pictures.place}: {item.name} must hold an image, got empty cells only; move it out")
    return empty


def _require_size(pictures: Pictures, name: str, header: Header, size: tuple[int, int]) -> None:
    if (header.height, header.width) != size:
        raise ValueError(
            f"{pictures.place}: all pictures must be {size[0]}x{size[1]} like {pictures.names[0]}, "
            f"got {name} of {header.height}x{header.width}; move it out, or give one folder of one size"
        )


def _channels(headers: Sequence[Header]) -> int:
    return 1 if all(header.gray for header in headers) else 3


def _num_jpeg(headers: Sequence[Header]) -> int:
    return sum(header.jpeg for header in headers)


def _kinds(headers: Sequence[Header]) -> str:
    return {0: "png", len(headers): "jpeg"}.get(_num_jpeg(headers), "png+jpeg")
