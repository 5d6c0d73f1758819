"""Arrays of images of other programs: streamed, and refused where they are not what is saved."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ddpm.data.foreign import as_array, open_images

NUM_IMAGES, HEIGHT, WIDTH = 12, 6, 8


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, HEIGHT, WIDTH, 3), dtype=np.uint8)


def npy(path: Path, images: np.ndarray) -> Path:
    np.save(path / "a.npy", images)
    return path / "a.npy"


def npz(path: Path, images: np.ndarray) -> Path:
    np.savez(path / "a.npz", images, np.arange(len(images)))
    return path / "a.npz"


def deflated(path: Path, images: np.ndarray) -> Path:
    np.savez_compressed(path / "b.npz", images)
    return path / "b.npz"


def test_memory_does_not_grow_with_the_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", np.zeros((1000, 128, 128, 3), dtype=np.uint8))  # 49 MB
    found = open_images(tmp_path / "a.npz")
    tracemalloc.start()
    assert as_array(found, tmp_path / "scratch.npy").shape == (1000, 128, 128, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # 256 images have 12.6 MB, and reading copies them


ARRAYS = {
    "floats": (lambda images: images / np.float32(255), "got float32 .*; metrics see images as they are saved"),
    "int64": (lambda images: images.astype(np.int64), "got int64 .*store uint8"),
    "channels first": (lambda images: images.transpose(0, 3, 1, 2), r"got uint8 \(12, 3, 6, 8\); .*transpose"),
    "no channels": (lambda images: images[..., 0], r"got uint8 \(12, 6, 8\); .*images\[\.\.\., None\]"),
    "four channels": (lambda images: images[..., [0, 1, 2, 0]], r"got uint8 \(12, 6, 8, 4\); store"),
}


@pytest.mark.parametrize("bad", ARRAYS)
@pytest.mark.parametrize("form", [npy, npz])
def test_arrays_of_another_kind_are_refused(bad, form, images, tmp_path):
    make, message = ARRAYS[bad]
    with pytest.raises(ValueError, match=f"must hold uint8 images .*{message}"):
        open_images(form(tmp_path, np.ascontiguousarray(make(images))))


def test_damaged_arrays_are_refused(images, tmp_path):
    for form in (npy, npz, deflated):
        path = form(tmp_path, images)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ValueError, match=r"must be a whole \.np[yz] file"):
            open_images(path)
    for content in (b"", b"text"):
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.npy: must be a whole \.npy file") as caught:
            open_images(tmp_path / "b.npy")
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="must be a whole"):
        open_images(tmp_path / "c.npy")
    content = bytearray(npz(tmp_path, images).read_bytes())
    content[400] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a whole \.npz file \(Bad CRC-32"):
        list(open_images(tmp_path / "a.npz").chunks())


@pytest.mark.parametrize("num_written", [NUM_IMAGES - 1, NUM_IMAGES + 1])
def test_an_npz_holds_as_many_images_as_it_says(num_written, images, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (NUM_IMAGES, *images.shape[1:])}
    )
    content = header.getvalue() + images.tobytes()[: images[0].size] * num_written
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", content)
    with pytest.raises(ValueError, match=r"must be a whole \.npz file"):
        list(open_images(tmp_path / "a.npz").chunks())


def test_npz_of_other_keys_or_order_is_refused(images, tmp_path):
    np.savez(tmp_path / "a.npz", samples=images, labels=np.arange(12))
    with pytest.raises(ValueError, match="must hold images as arr_0, got samples, labels; save them by"):
        open_images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", np.asfortranarray(images))
    with pytest.raises(ValueError, match="must be stored in C order"):
        open_images(tmp_path / "b.npz")
