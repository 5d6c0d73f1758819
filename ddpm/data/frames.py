"""Encoded images to upright frames of 8 bits, gray or RGB: what each unusual kind of file becomes, by a stated rule.

| a file with | becomes | note |
|---|---|---|
| EXIF orientation | the upright image | `rotated` |
| several frames (GIF, APNG, WebP, TIFF) | the first one | `animated` |
| transparency | laid on white | `transparent` |
| CMYK, or another space of colors | RGB by Pillow's formula; color profiles are not applied | `not RGB` |
| 16 bits per channel | the high byte of each | `16 bits` |
| 1 bit, gray, a palette | gray or RGB of 8 bits; gray is repeated where RGB is asked for | `gray` |
| 32 bits per channel, a side over 64 times the other, more than 89 million pixels, damage | an error | |
"""

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The decoders that may open a download; Pillow knows many more, some of them fragile."""

DAMAGE = (
    OSError,  # truncated, not an image, unreadable
    SyntaxError,  # a broken PNG
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    RuntimeError,
    OverflowError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What reading a damaged file raises; anything else is our bug and stops the run."""

PNG_START, PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24
"""A PNG, and where it states its bits per channel: Pillow cuts 16 of them down to 8 and does not say so."""
JPEG_START, EXIF_MARK = b"\xff\xd8\xff", b"Exif\0\0"
JPEG_SCAN, SCAN_BYTES = b"\xff\xda", 14
"""Of the first scan: its mark, and the bytes of its header with three colors. They end what a file says of itself."""
ORIENTATION = 0x0112
MOST_PIXELS = Image.MAX_IMAGE_PIXELS or 0
LARGEST_ASPECT = 64


class Frame(NamedTuple):
    """An upright image, gray or RGB."""

    source: Image.Image | NDArray[np.uint8]
    """An image in mode L or RGB, or RGB pixels (height, width, 3)."""
    notes: tuple[str, ...] = ()
    """Those of the table above that apply to it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        if isinstance(self.source, Image.Image):
            return self.source.size
        return self.source.shape[1], self.source.shape[0]

    @property
    def mode(self) -> str:
        """L or RGB."""
        return self.source.mode if isinstance(self.source, Image.Image) else "RGB"

    def cut(self, box: tuple[int, int, int, int]) -> Image.Image:
        """What lies in a box, (left, top, right, bottom); of pixels only these become an image."""
        if isinstance(self.source, Image.Image):
            return self.source if box == (0, 0, *self.size) else self.source.crop(box)
        left, top, right, bottom = box
        pixels = np.ascontiguousarray(self.source[top:bottom, left:right])
        return Image.frombuffer("RGB", (right - left, bottom - top), pixels, "raw", "RGB", 0, 1)

    def image(self, mode: str) -> Image.Image:
        """The whole of it in mode L (luma, ITU-R 601) or RGB (gray is repeated)."""
        whole = self.cut((0, 0, *self.size))
        return whole if whole.mode == mode else whole.convert(mode)


@contextmanager
def strictly() -> Iterator[None]:
    """Inside, an image of more pixels than Pillow deems safe is an error; other warnings about files are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def open_frame(content: bytes, scratch: NDArray[np.uint8] | None = None) -> Frame:
    """Decode an image file by the rules above.

    Args:
        content: of the file.
        scratch: as for `plain_jpeg`.

    Raises:
        DAMAGE: not an image, damaged, too large, too long, or of 32 bits.
    """
    pixels = plain_jpeg(content, scratch)
    return pillow_frame(content) if pixels is None else Frame(pixels)


def plain_jpeg(content: bytes, scratch: NDArray[np.uint8] | None = None) -> NDArray[np.uint8] | None:
    """Decode a color JPEG file that needs no rule, to the pixels that Pillow gives, in two thirds of its time.

    Both decode by libjpeg-turbo with its exact inverse transform and smooth upsampling.

    Args:
        content: of the file.
        scratch: memory (bytes,) for pixels that nobody needs after the next call; used where it is large enough.

    Returns:
        (height, width, 3); None for every other file, and for damaged ones: Pillow says what they are.
    """
    if not content.startswith(JPEG_START):
        return None
    num_bytes = _bytes_of_plain(content[: content.find(JPEG_SCAN) + SCAN_BYTES])
    if not num_bytes:
        return None
    buffer = scratch if scratch is not None and num_bytes <= scratch.size else None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, buffer=buffer)
    except ValueError:
        return None
    return pixels


@lru_cache(16)  # most files of a data set begin alike
def _bytes_of_plain(start: bytes) -> int:
    """How many bytes the pixels of a color JPEG file take that needs no rule; 0 for every other file.

    Args:
        start: of the file, as far as its first scan. It may end sooner, where a part of it looks like a scan; then it
            is not whole, and the result is 0.
    """
    if EXIF_MARK in start:
        return 0
    try:
        about: tuple[int, int, str, str] = simplejpeg.decode_jpeg_header(start)
    except ValueError:
        return 0
    height, width, space, _ = about
    if space != "YCbCr" or height * width > MOST_PIXELS or max(height, width) > LARGEST_ASPECT * min(height, width):
        return 0
    return 3 * height * width


def require_same_pixels(content: bytes, name: str) -> None:
    """Compare the two decoders on a file that the fast one takes: done for some files of every run.

    Raises:
        ValueError: their versions differ in pixels.
    """
    pixels = plain_jpeg(content)
    if pixels is not None and not np.array_equal(pixels, np.asarray(pillow_frame(content).image("RGB"))):
        raise ValueError(
            f"{name}: simplejpeg {simplejpeg.__version__} and Pillow {PIL.__version__} must decode it to the same "
            "pixels, got different ones; install the versions of requirements.lock"
        )


def pillow_frame(content: bytes) -> Frame:
    """Decode any image file by Pillow.

    Raises:
        DAMAGE: as `open_frame`.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as file:
        require_aspect(*file.size)
        notes = ["animated"] if getattr(file, "is_animated", False) else []
        turned = file.format == "TIFF" and _is_turned(file)  # which loading turns upright
        file.load()
        image: Image.Image = file
        if turned or ("exif" in file.info and _is_turned(file)):
            notes.append("rotated")
            image = ImageOps.exif_transpose(file)
        if image.mode == "RGB" and "transparency" not in image.info:
            deep = content.startswith(PNG_START) and content[PNG_DEPTH] > 8
            return Frame(image, (*notes, "16 bits") if deep else tuple(notes))
        return _plain(image, content, notes)


def from_pixels(pixels: NDArray[np.uint8]) -> Frame:
    """The frame of (height, width), (height, width, 1) or (height, width, 3) pixels."""
    height, width = pixels.shape[:2]
    require_aspect(width, height)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return Frame(pixels)
    return Frame(Image.fromarray(np.ascontiguousarray(pixels.reshape(height, width))), ("gray",))


def require_aspect(width: int, height: int) -> None:
    """Refuse slivers: brought to a size by the short side, the long one would take gigabytes.

    Raises:
        ValueError: a side is more than 64 times the other.
    """
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise ValueError(f"a side is more than {LARGEST_ASPECT} times the other: {width}x{height}")


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(ORIENTATION, 1) in range(2, 9)


def _plain(image: Image.Image, content: bytes, notes: list[str]) -> Frame:
    """An image of any mode in mode L or RGB."""
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}, 32 bits per channel, has no known range")
    if image.mode.startswith("I;16"):
        notes.append("16 bits")
        order = ">u2" if image.mode.endswith("B") else "<u2"
        high = np.frombuffer(image.tobytes(), order).reshape(image.height, image.width) >> 8
        image = Image.fromarray(high.astype(np.uint8))
    elif content.startswith(PNG_START) and content[PNG_DEPTH] > 8:
        notes.append("16 bits")
    if image.has_transparency_data:
        notes.append("transparent")
        gray = image.mode in ("L", "LA")
        laid = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = laid.convert("L" if gray else "RGB")
    if image.mode in ("1", "L"):
        return Frame(image.convert("L"), (*notes, "gray"))
    if image.mode not in ("P", "RGB"):
        notes.append("not RGB")
    return Frame(image.convert("RGB"), tuple(notes))
