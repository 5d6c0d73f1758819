"""Pictures as other programs leave them: PNG and JPEG files in a folder, nested or not, or in a zip.

A zip is read without unpacking it. What a picture is, its own bytes say: a JPEG called .png counts as a JPEG.
"""

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.decode import DAMAGE
from ddpm.data.photos import FORMATS, require_inside

SUFFIXES = (".png", ".jpg", ".jpeg")
BESIDE = (".json", ".txt")
"""Notes that programs leave beside their samples; they are passed over like hidden files."""

PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_DEPTH = 24
"""Where a PNG states its bits per channel. PIL cuts 16 of them down to 8 and does not say so."""

GRAY, COLOR = ("1", "L", "LA"), ("P", "RGB", "RGBA")
NAMED = 10
"""Files that a message names; the rest are counted."""


@dataclass(frozen=True)
class Pictures:
    """Files of pictures, not yet opened."""

    place: str
    """The folder, zip or file they are of, for messages."""
    names: Sequence[str]
    """Relative names in natural order: 2 before 10, folder by folder."""
    read: Callable[[str], bytes]


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
    """Find the pictures of a folder, of a zip, or the one of a file.

    Raises:
        ValueError: nothing there, a file that is neither a picture nor a note, or a zip that is unsafe or damaged.
    """
    if path.is_dir():
        names, read = list(_walk(path)), lambda name: (path / name).read_bytes()
    elif path.suffix.lower() == ".zip":
        archive, names = _open_zip(path)
        read = archive.read
    else:
        names, read = [path.name], lambda _: path.read_bytes()
    names = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    names = sorted((name for name in names if not name.lower().endswith(BESIDE)), key=natural)
    if others := [name for name in names if not name.lower().endswith(SUFFIXES)]:
        raise ValueError(f"{path}: must hold only PNG and JPEG files, got {_listed(others)}; move the others out")
    if not names:
        raise ValueError(f"{path}: must hold PNG or JPEG files, got none; give the folder or zip that has them")
    return Pictures(str(path), names, read)


def read_headers(pictures: Pictures) -> list[Header]:
    """Open every picture without decoding it.

    Raises:
        ValueError: damaged files, 16 bits per channel, several frames, or colors that are neither gray nor RGB.
    """
    headers: list[Header] = []
    for name in pictures.names:
        try:
            content = pictures.read(name)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                (width, height), mode, frames = image.size, image.mode, getattr(image, "n_frames", 1)
        except DAMAGE:
            raise _refuse_damaged(
                pictures, [name for name in pictures.names if _load(pictures, name) is None]
            ) from None
        deep = content.startswith(PNG_START) and content[PNG_DEPTH] > 8
        jpeg = content.startswith(JPEG_START)
        if deep or mode not in GRAY + COLOR or (frames > 1 and not jpeg):
            kind = "16 bits" if deep else f"mode {mode}" if frames == 1 else f"{frames} frames"
            raise ValueError(
                f"{pictures.place}: {name} must be one gray or RGB image of 8 bits per channel, got {kind}; "
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
    for name in pictures.names:
        image = _load(pictures, name)
        if image is None:
            damaged.append(name)
            continue
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema() != (255, 255):
                raise ValueError(
                    f"{pictures.place}: {name} must be fully opaque, got transparent pixels; "
                    "lay it on the background that its program meant"
                )
        if not damaged:
            mode = "L" if channels == 1 else "RGB"
            image = image if image.mode == mode else image.convert(mode)
            yield np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, channels)
    if damaged:
        raise _refuse_damaged(pictures, damaged)


def _load(pictures: Pictures, name: str) -> Image.Image | None:
    """A decoded picture, or None where the file is damaged."""
    try:
        with Image.open(io.BytesIO(pictures.read(name)), formats=FORMATS) as image:
            image.load()
            return image
    except DAMAGE:
        return None


def _refuse_damaged(pictures: Pictures, damaged: Sequence[str]) -> ValueError:
    rule = f"all {len(pictures.names)} pictures must be whole"
    return ValueError(f"{pictures.place}: {rule}, got {len(damaged)} damaged: {_listed(damaged)}; store them again")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def _walk(path: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:  # os.walk passes folders over that it may not read
        raise ValueError(f"{error.filename}: folders inside must be readable, got {error.strerror}; give permission")

    for folder, inner, files in os.walk(path, onerror=refuse):
        for name in inner:
            link = Path(folder, name)
            if link.is_symlink() and not name.startswith("."):  # os.walk does not follow it, and does not say so
                raise ValueError(f"{link}: folders inside must be real, got a link; give the folder it points to")
        yield from (Path(folder, name).relative_to(path).as_posix() for name in files)


def _open_zip(path: Path) -> tuple[zipfile.ZipFile, list[str]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path}: must be a whole zip file ({error}); pack it again") from None
    names: list[str] = []
    try:
        for entry in archive.infolist():
            require_inside(path, entry.filename, "pack it with relative names")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(
                    f"{path}: entries must be files, got the link {entry.filename!r}; pack the file itself"
                )
            if not entry.is_dir():
                names.append(entry.filename)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{path}: names must be unique, got {twice!r} twice; pack it again")
    except ValueError:
        archive.close()
        raise
    return archive, names
