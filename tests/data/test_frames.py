"""Frames: every unusual kind of image file becomes what the table in `ddpm.data.frames` says; damage is an error."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.frames import DAMAGE, FORMATS, from_pixels, open_frame, strictly


def stored(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG written by hand: what Pillow cannot save."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def rgb(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_are_taken_as_they_are(rgb: Image.Image, pixels: NDArray[np.uint8], kind: str) -> None:
    frame = open_frame(stored(rgb, kind))
    assert (frame.mode, frame.notes) == ("RGB", ())
    np.testing.assert_array_equal(np.asarray(frame.image(frame.mode)), pixels)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("size", [(178, 218), (17, 33), (1, 1), (16, 9)])
def test_jpeg_pixels_are_those_of_pillow(
    subsampling: int, progressive: bool, quality: int, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    content = stored(image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    frame = open_frame(content)
    np.testing.assert_array_equal(np.asarray(frame.image(frame.mode)), expected)
    assert frame.notes == ()


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG file with one more segment, before all others."""
    return content[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + content[2:]


@pytest.mark.parametrize("marker", [0xE2, 0xED, 0xFE])
@pytest.mark.parametrize("data", [b"\xff\xda", b"..\xff\xda" + bytes(40), stored(Image.new("RGB", (9, 9)), "JPEG")])
def test_what_looks_like_a_scan_hides_no_orientation(marker: int, data: bytes) -> None:
    """Color profiles, thumbnails and comments may have any bytes."""
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (24, 16, 3), dtype=np.uint8))
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        plain = stored(noise, "JPEG", exif=exif.tobytes())
        frame = open_frame(with_segment(plain, marker, data))
        assert ("rotated" in frame.notes) == (orientation == 6)
        np.testing.assert_array_equal(np.asarray(frame.image("RGB")), np.asarray(open_frame(plain).image("RGB")))
    bare = stored(noise, "JPEG")
    found = open_frame(with_segment(bare, marker, data))
    np.testing.assert_array_equal(np.asarray(found.image("RGB")), np.asarray(Image.open(io.BytesIO(bare))))


def test_files_that_begin_alike_are_told_apart() -> None:
    """The first of them has been looked at, and is remembered."""
    start = Image.new("RGB", (16, 8), "gray")
    whole, other = stored(start, "JPEG"), stored(Image.new("RGB", (16, 8), "red"), "JPEG")
    assert whole[:40] == other[:40]
    for _ in range(2):
        for content, level in ((whole, 128), (other, 254)):
            assert np.asarray(open_frame(content).image("RGB"))[0, 0, 0] == level
        with pytest.raises(DAMAGE), strictly():
            open_frame(whole[:-20])


def test_pixels_lie_in_given_memory_where_it_is_large_enough(rgb: Image.Image) -> None:
    content = stored(rgb, "JPEG")
    scratch = np.empty(rgb.width * rgb.height * 3, np.uint8)
    for memory, shared in ((scratch, True), (scratch[1:], False)):
        frame = open_frame(content, memory)
        assert isinstance(frame.source, np.ndarray)
        assert np.shares_memory(frame.source, memory) == shared
        np.testing.assert_array_equal(frame.source, np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    corner = Image.new("L", (32, 16))
    corner.paste(255, (0, 0, 8, 8))  # seen at the top left of an upright image
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes what a viewer does
    turned = corner if orientation == 1 else corner.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    frame = open_frame(stored(turned.convert("RGB"), kind, exif=exif.tobytes()))
    assert frame.size == (32, 16)
    assert ("rotated" in frame.notes) == (orientation != 1)
    found = np.asarray(frame.image("L")) > 128
    np.testing.assert_array_equal(found, np.asarray(corner) > 128)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    frame = open_frame(stored(first, kind, save_all=True, append_images=[second], **options))
    assert frame.notes == ("animated",)
    assert np.asarray(frame.image("RGB"))[3, 3].tolist() == [255, 0, 0]


def test_transparency_is_laid_on_white(pixels: NDArray[np.uint8]) -> None:
    alpha = np.zeros((12, 10, 1), np.uint8)
    alpha[:, 5:] = 255
    frame = open_frame(stored(Image.fromarray(np.concatenate([pixels, alpha], axis=2))))
    found = np.asarray(frame.image(frame.mode))
    assert (frame.mode, frame.notes) == ("RGB", ("transparent",))
    assert (found[:, :5] == 255).all()
    np.testing.assert_array_equal(found[:, 5:], pixels[:, 5:])


def test_half_transparent_gray_stays_gray() -> None:
    frame = open_frame(stored(Image.merge("LA", (Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 128)))))
    assert (frame.mode, frame.notes) == ("L", ("transparent", "gray"))
    assert np.asarray(frame.image(frame.mode)).tolist() == [[127, 127], [127, 127]]


def test_a_transparent_palette_color_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF"):
        frame = open_frame(stored(image, kind, transparency=0))
        assert "transparent" in frame.notes
        assert np.asarray(frame.image(frame.mode)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_palettes_and_bits_are_looked_up(rgb: Image.Image) -> None:
    palette = rgb.quantize(16)
    frame = open_frame(stored(palette))
    assert (frame.mode, frame.notes) == ("RGB", ())
    np.testing.assert_array_equal(np.asarray(frame.image(frame.mode)), np.asarray(palette.convert("RGB")))
    bits = open_frame(stored(Image.new("1", (3, 3), 1)))
    assert (bits.mode, bits.notes) == ("L", ("gray",))
    assert (np.asarray(bits.image("L")) == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_by_pillow(kind: str) -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    frame = open_frame(stored(image, kind))
    assert (frame.mode, frame.notes) == ("RGB", ("not RGB",))
    np.testing.assert_allclose(np.asarray(frame.image(frame.mode))[0, 0], [0, 255, 255], atol=3)


@pytest.mark.parametrize("value", [0, 255, 256, 0x1234, 0xFFFF])
def test_of_16_bits_the_high_byte_is_taken(value: int) -> None:
    gray = open_frame(png(1, 1, 16, 0, b"\0" + value.to_bytes(2, "big")))
    assert (gray.mode, "16 bits" in gray.notes) == ("L", True)
    assert np.asarray(gray.image("L")).tolist() == [[value >> 8]]
    color = open_frame(png(1, 1, 16, 2, b"\0" + value.to_bytes(2, "big") * 3))
    assert (color.mode, color.notes) == ("RGB", ("16 bits",))
    assert np.asarray(color.image("RGB")).tolist() == [[[value >> 8] * 3]]
    for order in ("<", ">"):
        tiff = Image.fromarray(np.array([[value]], f"{order}u2"))
        assert np.asarray(open_frame(stored(tiff, "TIFF")).image("L")).tolist() == [[value >> 8]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot identify"),
        (b"no image", "cannot identify"),
        (stored(Image.new("F", (2, 2)), "TIFF"), "32 bits per channel"),
        (stored(Image.new("I", (2, 2)), "TIFF"), "32 bits per channel"),
        (stored(Image.new("L", (1, 65))), "a side is more than 64 times the other: 1x65"),
        (stored(Image.new("RGB", (64, 64), "red"), "JPEG")[:300], "(?i)truncated"),
        (png(20000, 20000, 8, 0, b""), "decompression bomb"),
        (png(10000, 9000, 8, 0, b""), "decompression bomb"),
    ],
)
def test_what_is_damaged_or_has_no_meaning_is_an_error(content: bytes, reason: str) -> None:
    with pytest.raises(DAMAGE, match=reason), strictly():
        open_frame(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_an_error(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    content = stored(noise, kind)
    with pytest.raises(DAMAGE), strictly():
        open_frame(content[: int(len(content) * share)])


def test_other_formats_are_not_opened(rgb: Image.Image) -> None:
    assert not {"EPS", "PSD", "FITS", "ICNS"} & set(FORMATS)
    with pytest.raises(DAMAGE, match="cannot identify"):
        open_frame(stored(rgb, "SGI"))


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 3)])
def test_pixels_are_a_frame(shape: tuple[int, ...], make: Callable[..., NDArray[np.uint8]]) -> None:
    array = make(shape)
    frame = from_pixels(array)
    gray = shape[-1] != 3 or len(shape) == 2
    assert (frame.mode, frame.notes) == (("L", ("gray",)) if gray else ("RGB", ()))
    np.testing.assert_array_equal(np.asarray(frame.image(frame.mode)).reshape(shape), array)


@pytest.fixture
def make() -> Callable[..., NDArray[np.uint8]]:
    def build(shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)[::-1]

    return build
