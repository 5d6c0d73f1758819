"""Pictures as other programs leave them: PNG and JPEG files in a folder, nested or not, or in a zip or tar.

An archive is read without unpacking it. What a picture is, its own bytes say: a JPEG called .png counts as a JPEG.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.catalog import Item
from ddpm.data.files import FolderReader, is_hidden, open_files
from ddpm.data.frames import DAMAGE, JPEG_START, PNG_DEPTH, PNG_START
from ddpm.data.tars import is_compressed

FORMATS = ("JPEG", "PNG")
"""The decoders that may open generated images."""
SUFFIXES = (".png", ".jpg", ".jpeg")
BESIDE = (".json", ".txt")
"""Notes that programs leave beside their samples; they are passed over like hidden files."""

GRAY, COLOR = ("1", "L", "LA"), ("P", "RGB", "RGBA")
ARCHIVES = (".zip", ".tar")
NAMED = 10
"""Files that a message names; the rest are counted."""


@dataclass(frozen=True)
class Pictures:
    """Files of pictures, not yet opened."""

    place: str
    """The folder, archive or file they are of, for messages."""
    items: Sequence[Item]
    """With relative names, in natural order: 2 before 10, folder by folder."""
    read: Callable[[Item], bytes]

    @property
    def names(self) -> list[str]:
        """The relative names, in their order."""
        return [item.name for item in self.items]


@dataclass(frozen=True)
class Header:
    """What a picture says before it is decoded."""

    height: int
    width: int
    gray: bool
    jpeg: bool


def natural(name: str) -> tuple[list[str], str]:
    """Key to sort names by, in which runs of digits count as numbers; zeros in front decide last."""
    return [re.sub(r"[0-9]+", lambda run: run[0].zfill(32), part) for part in PurePosixPath(name).parts], name


def list_pictures(path: Path) -> Pictures:
    """Find the pictures of a folder, of a zip or tar, or the one of a file.

    Raises:
        ValueError: nothing there, a file that is neither a picture nor a note, or an archive that is compressed as a
            whole, unsafe or damaged.
    """
    items, read = _open(path)
    items = sorted((item for item in items if not item.name.lower().endswith(BESIDE)), key=lambda i: natural(i.name))
    if others := [item.name for item in items if not item.name.lower().endswith(SUFFIXES)]:
        raise ValueError(f"{path}: must hold only PNG and JPEG files, got {_listed(others)}; move the others out")
    if not items:
        raise ValueError(f"{path}: must hold PNG or JPEG files, got none; give the folder or archive that has them")
    return Pictures(str(path), items, read)


def read_headers(pictures: Pictures) -> list[Header]:
    """Open every picture without decoding it.

    Raises:
        ValueError: damaged files, 16 bits per channel, several frames, or colors that are neither gray nor RGB.
    """
    headers: list[Header] = []
    for item in pictures.items:
        try:
            content = pictures.read(item)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                (width, height), mode, frames = image.size, image.mode, getattr(image, "n_frames", 1)
        except DAMAGE:
            damaged = [item.name for item in pictures.items if _load(pictures, item) is None]
            raise _refuse_damaged(pictures, damaged) from None
        deep = content.startswith(PNG_START) and content[PNG_DEPTH] > 8
        jpeg = content.startswith(JPEG_START)
        if deep or mode not in GRAY + COLOR or (frames > 1 and not jpeg):
            kind = "16 bits" if deep else f"mode {mode}" if frames == 1 else f"{frames} frames"
            raise ValueError(
                f"{pictures.place}: {item.name} must be one gray or RGB image of 8 bits per channel, got {kind}; "
                "convert it as its program meant it to be seen"
            )
        headers.append(Header(height, width, mode in GRAY, jpeg))
    return headers


def decode_pictures(pictures: Pictures, channels: int) -> Iterator[NDArray[np.uint8]]:
    """Decode pictures one by one, in order; palettes become RGB, and gray is repeated where RGB is asked for.

    Args:
        channels: 1 or 3.

    Returns:
        (height, width, channels), 0..255, each; none after the first damaged file, but the others are still tried.

    Raises:
        ValueError: damaged files, all of them, at the end; at once, a picture that is not fully opaque.
    """
    damaged: list[str] = []
    for item in pictures.items:
        image = _load(pictures, item)
        if image is None:
            damaged.append(item.name)
            continue
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                raise ValueError(
                    f"{pictures.place}: {item.name} must be fully opaque, got transparent pixels; "
                    "lay it on the background that its program meant"
                )
        if not damaged:
            mode = "L" if channels == 1 else "RGB"
            image = image if image.mode == mode else image.convert(mode)
            yield np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)
    if damaged:
        raise _refuse_damaged(pictures, damaged)


def _load(pictures: Pictures, item: Item) -> Image.Image | None:
    """A decoded picture, or None where the file is damaged."""
    try:
        with Image.open(io.BytesIO(pictures.read(item)), formats=FORMATS) as image:
            image.load()
            return image
    except DAMAGE:
        return None


def _refuse_damaged(pictures: Pictures, damaged: Sequence[str]) -> ValueError:
    rule = f"all {len(pictures.items)} pictures must be whole"
    return ValueError(f"{pictures.place}: {rule}, got {len(damaged)} damaged: {_listed(damaged)}; store them again")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _open(path: Path) -> tuple[Sequence[Item], Callable[[Item], bytes]]:
    if path.is_file() and path.suffix.lower() not in ARCHIVES:
        return [] if is_hidden(path.name) else [Item(path.name, ())], FolderReader(path.parent)
    if path.is_file() and is_compressed(path):  # pictures are compressed already, and it would have to be unpacked
        raise ValueError(
            f"{path}: an archive of pictures must be a zip or a plain tar, got a compressed tar; unpack it"
        )
    files = open_files(path, path.parent)  # only a compressed tar would need a working folder
    return files.items.take(np.arange(len(files.items))), files.read
