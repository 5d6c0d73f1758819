"""Generated images of other programs: every form gives the same pixels, and what cannot be read is named."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm.data.arrays import CHUNK_BYTES, spans
from ddpm.data.foreign import as_array, jpeg_warning, open_images

NUM_IMAGES, HEIGHT, WIDTH = 12, 6, 8


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, HEIGHT, WIDTH, 3), dtype=np.uint8)


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture.squeeze())
    image.save(file, kind, **options)
    return file.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pngs(images: np.ndarray, prefix: str = "", suffix: str = ".png") -> dict[str, bytes]:
    """Files 0.png, 1.png, ..., 11.png: their order as text is another."""
    return {f"{prefix}{number}{suffix}": encoded(image) for number, image in enumerate(images)}


def npy(path: Path, images: np.ndarray) -> Path:
    np.save(path / "a.npy", images)
    return path / "a.npy"


def npz(path: Path, images: np.ndarray) -> Path:
    np.savez(path / "a.npz", images, np.arange(len(images)))
    return path / "a.npz"


def deflated(path: Path, images: np.ndarray) -> Path:
    np.savez_compressed(path / "a.NPZ.npz", images)
    return path / "a.NPZ.npz"


def folder(path: Path, images: np.ndarray) -> Path:
    return write(path / "a", pngs(images) | {".DS_Store": b"x", "notes.TXT": b"", "options.json": b"{}"})


def nested(path: Path, images: np.ndarray) -> Path:
    files = pngs(images[:5], "part2/") | pngs(images[5:], "part10/", ".PNG")
    return write(path / "a", files | {".cache/0.png": b"not a picture"})


def archive(path: Path, images: np.ndarray) -> Path:
    return packed(path / "a.zip", pngs(images, "samples/") | {"__MACOSX/samples/._0.png": b"x", "empty/": b""})


def tarred(path: Path, images: np.ndarray) -> Path:
    with tarfile.open(path / "a.tar", "w") as tar:
        tar.add(write(path / "b", pngs(images)), "./samples")
    return path / "a.tar"


FORMS = {
    npy: "uint8 npy",
    npz: "npz",
    deflated: "npz",
    folder: "png folder",
    nested: "png folder",
    archive: "png zip",
    tarred: "png tar",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_gives_the_same_pixels(form, channels, images, tmp_path):
    wanted = images[..., :channels]
    found = open_images(form(tmp_path, wanted))
    assert (found.num_images, found.shape) == (NUM_IMAGES, (HEIGHT, WIDTH, channels))
    assert (found.format, found.num_jpeg, found.num_empty_cells) == (FORMS[form], 0, 0)
    assert jpeg_warning(found) is None
    for _ in range(2):  # from the start each time
        np.testing.assert_array_equal(np.concatenate(list(found.chunks())), wanted)
    ticks: list[int] = []
    array = as_array(found, tmp_path / "scratch.npy", ticks.append)
    np.testing.assert_array_equal(array, wanted)
    assert not array.flags.writeable
    assert (tmp_path / "scratch.npy").exists() == (form is not npy), "an .npy is mapped where it lies"
    assert sum(ticks) == (0 if form is npy else NUM_IMAGES)
    assert not list(tmp_path.glob("*.tmp"))


def test_chunks_hold_every_image_once_and_are_bounded(images, tmp_path):
    assert list(spans(600, 1)) == [(0, 256), (256, 512), (512, 600)]
    assert list(spans(3, CHUNK_BYTES // 2)) == [(0, 2), (2, 3)]
    assert list(spans(2, 2 * CHUNK_BYTES)) == [(0, 1), (1, 2)]
    many = np.tile(images, (50, 1, 1, 1))
    for form in (npy, npz, archive):
        path = tmp_path / form.__name__
        path.mkdir()
        chunks = list(open_images(form(path, many)).chunks())
        assert [len(chunk) for chunk in chunks] == [256, 256, 88]
        np.testing.assert_array_equal(np.concatenate(chunks), many)


MODES: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "1": lambda rgb: Image.fromarray(rgb[..., 0]).convert("1"),
    "L": lambda rgb: Image.fromarray(rgb[..., 0]),
    "LA": lambda rgb: Image.fromarray(rgb[..., 0]).convert("LA"),
    "P": lambda rgb: Image.fromarray(rgb).quantize(16),
    "RGB": lambda rgb: Image.fromarray(rgb),
    "RGBA": lambda rgb: Image.fromarray(rgb).convert("RGBA"),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_gray_or_rgb(mode, images, tmp_path):
    picture = MODES[mode](images[0])
    assert picture.mode == mode
    write(tmp_path / "a", {"0.png": encoded(picture), "1.png": encoded(picture)})
    channels = 1 if mode in ("1", "L", "LA") else 3
    found = np.concatenate(list(open_images(tmp_path / "a").chunks()))
    assert found.shape == (2, HEIGHT, WIDTH, channels)
    np.testing.assert_array_equal(found[1], np.asarray(picture.convert("RGB"))[..., :channels])


def test_one_color_picture_makes_all_rgb(images, tmp_path):
    write(tmp_path / "a", {"0.png": encoded(images[0, ..., :1]), "1.png": encoded(images[1])})
    found = np.concatenate(list(open_images(tmp_path / "a").chunks()))
    np.testing.assert_array_equal(found, [images[0, ..., :1].repeat(3, axis=-1), images[1]])


def test_jpeg_is_known_by_its_bytes(images, tmp_path):
    files = {"0.png": encoded(images[0], "JPEG"), "1.JPEG": encoded(images[1], "JPEG"), "2.jpg": encoded(images[2])}
    mixed = open_images(write(tmp_path / "a", files))
    assert (mixed.format, mixed.num_jpeg) == ("png+jpeg folder", 2)
    only = open_images(packed(tmp_path / "a.zip", {"0.png": files["0.png"]}))
    assert (only.format, only.num_jpeg) == ("jpeg zip", 1)
    decoded = np.asarray(Image.open(io.BytesIO(files["0.png"])))
    np.testing.assert_array_equal(next(only.chunks())[0], decoded)
    assert np.abs(decoded.astype(int) - images[0]).mean() > 1  # noise does not survive JPEG
    warning = jpeg_warning(mixed)
    assert warning is not None
    assert "2 files are JPEG" in warning
    assert "5.80" in warning
    assert "2.50" in warning
    assert "\n" not in warning


def transparent(rgb: np.ndarray) -> bytes:
    picture = Image.fromarray(rgb).convert("RGBA")
    picture.putpixel((0, 0), (1, 2, 3, 254))
    return encoded(picture)


BAD_PICTURES = {
    "transparent": (transparent, "1.png must be fully opaque, got transparent pixels"),
    "palette": (lambda rgb: encoded(Image.fromarray(rgb).quantize(16), transparency=0), "1.png must be fully opaque"),
    "gray16": (lambda rgb: encoded(rgb[..., 0].astype(np.uint16) * 257), "8 bits per channel, got 16 bits"),
    "cmyk": (lambda rgb: encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"), "1.png must be .*, got mode CMYK"),
    "frames": (
        lambda rgb: encoded(rgb, save_all=True, append_images=[Image.fromarray(255 - rgb)]),
        "1.png must be one gray or RGB image .*, got 2 frames",
    ),
    "size": (lambda rgb: encoded(rgb[:, 1:]), "must be 6x8 like 0.png, got 1.png of 6x7"),
    "gif": (lambda rgb: encoded(rgb, "GIF"), "got 1 damaged: 1.png"),
}


@pytest.mark.parametrize("bad", BAD_PICTURES)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_pictures_of_another_kind_are_named(bad, form, images, tmp_path):
    make, message = BAD_PICTURES[bad]
    files = {"0.png": encoded(images[0]), "1.png": make(images[1])}
    path = write(tmp_path / "a", files) if form == "folder" else packed(tmp_path / "a.zip", files)
    with pytest.raises(ValueError, match=message) as caught:
        list(open_images(path).chunks())
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_color_of_16_bits_is_refused(tmp_path):
    """PIL writes no such file, and reads it as 8 bits without a word: the PNG is put together here."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    deep = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(13))) + chunk(b"IEND", b"")
    assert Image.open(io.BytesIO(deep)).mode == "RGB"
    with pytest.raises(ValueError, match=r"0.png must be .*, got 16 bits"):
        open_images(write(tmp_path / "a", {"0.png": deep}))


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_all_damaged_files_are_named(form, images, tmp_path):
    """Some have no header; others end early, which only decoding shows."""
    good = pngs(np.tile(images, (3, 1, 1, 1)))
    files = good | {f"{number}.png": good[f"{number}.png"][:-40] for number in range(20, 32)}
    late = write(tmp_path / "a", files) if form == "folder" else packed(tmp_path / "a.zip", files)
    found = open_images(late)
    named = ", ".join(f"{number}.png" for number in range(20, 30))
    with pytest.raises(ValueError, match=f"all 36 pictures must be whole, got 12 damaged: {named} and 2 more; "):
        as_array(found, tmp_path / "scratch.npy")
    assert not list(tmp_path.glob("scratch*")), "an unfinished array is not left behind"
    files["3.png"] = b"nothing"
    early = write(tmp_path / "b", files) if form == "folder" else packed(tmp_path / "b.zip", files)
    with pytest.raises(ValueError, match=r"got 13 damaged: 3.png, 20.png, .*28.png and 3 more"):
        open_images(early)


def test_other_files_are_named(images, tmp_path):
    write(tmp_path / "a", pngs(images) | {"b/samples.npy": b"", "movie.gif": b""})
    with pytest.raises(ValueError, match=r"must hold only PNG and JPEG files, got b/samples\.npy, movie\.gif; move"):
        open_images(tmp_path / "a")
    write(tmp_path / "c", {"notes.txt": b"", ".0.png": b""})
    with pytest.raises(ValueError, match="must hold PNG or JPEG files, got none"):
        open_images(tmp_path / "c")


def test_links_to_folders_are_refused_and_links_to_files_followed(images, tmp_path):
    write(tmp_path / "real", pngs(images))
    (tmp_path / "a").mkdir()
    for number in range(NUM_IMAGES):
        (tmp_path / "a" / f"{number}.png").symlink_to(tmp_path / "real" / f"{number}.png")
    np.testing.assert_array_equal(next(open_images(tmp_path / "a").chunks()), images)
    (tmp_path / "a" / "more").symlink_to(tmp_path / "real")
    with pytest.raises(ValueError, match="more: folders inside must be real, got a link"):
        open_images(tmp_path / "a")


@pytest.mark.parametrize("name", ["/0.png", "../0.png", "a/../../0.png", "C:0.png", "a\\0.png"])
def test_zips_that_point_outside_are_refused(name, images, tmp_path):
    path = packed(tmp_path / "a.zip", {name: encoded(images[0])})
    with pytest.raises(ValueError, match=r"entries must lie inside the archive, got .*; pack it with relative names"):
        open_images(path)


def test_zips_must_be_whole_and_unambiguous(images, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="must be a whole zip file"):
        open_images(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("0.png", encoded(images[0]))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("0.png", encoded(images[1]))
    with pytest.raises(ValueError, match=r"names must be unique, got '0.png' twice"):
        open_images(tmp_path / "b.zip")
    content = bytearray(packed(tmp_path / "c.zip", pngs(images[:1])).read_bytes())
    content[60] ^= 1  # inside the picture: only the checksum of the zip is sure to see it
    (tmp_path / "c.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"got 1 damaged: 0.png"):
        open_images(tmp_path / "c.zip")


def test_paths_that_hold_no_images_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match="got no such file or folder"):
        open_images(tmp_path / "absent")
    (tmp_path / "a.gz").touch()
    with pytest.raises(ValueError, match=r"an \.npy, an \.npz, or one PNG or JPEG sheet with its grid, got a\.gz"):
        open_images(tmp_path / "a.gz")
    (tmp_path / "a.tar").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(ValueError, match=r"a\.tar: an archive of pictures must be .* got a compressed tar; unpack it$"):
        open_images(tmp_path / "a.tar")
    write(tmp_path, pngs(images[:1]))
    with pytest.raises(ValueError, match=r"got 0\.png; give the grid"):
        open_images(tmp_path / "0.png")
    with pytest.raises(ValueError, match="padding lies between the cells of a grid, got 2 without a grid"):
        open_images(tmp_path, padding=2)
    with pytest.raises(ValueError, match="a grid is for sheets of pictures, got an array"):
        open_images(npy(tmp_path, images), grid=(1, 1))
