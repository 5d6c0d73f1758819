"""Small made-up data sets in the official layouts."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm.data import decode as decoding
from ddpm.experiment.params import DataParams

FRAME = (178, 218)


@pytest.fixture(scope="session")
def frame() -> Callable[..., Image.Image]:
    """A frame whose pixels say where they are: red = column, green = row, blue = number."""

    def make(number: int = 0, width: int = FRAME[0], height: int = FRAME[1]) -> Image.Image:
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([columns, rows, np.full_like(rows, number)], axis=-1)
        return Image.fromarray(pixels.astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def jpegs(frame: Callable[..., Image.Image]) -> dict[str, bytes]:
    """Twelve JPEG files, 000001.jpg to 000012.jpg."""
    contents = {}
    for number in range(1, 13):
        buffer = io.BytesIO()
        frame(20 * number).save(buffer, "JPEG", quality=90)
        contents[f"{number:06d}.jpg"] = buffer.getvalue()
    return contents


@pytest.fixture
def celeba(tmp_path: Path, jpegs: dict[str, bytes]) -> Callable[..., Path]:
    """Write a raw CelebA folder of twelve photographs: eight train, two valid, two test."""

    def make(files: dict[str, bytes] | None = None, *, layout: str = "zip", prefix: str = "img_align_celeba/") -> Path:
        raw = tmp_path / f"raw-{layout}"
        raw.mkdir()
        codes = [0] * 8 + [1] * 2 + [2] * 2
        lines = [f"{name} {code}\r\n" for name, code in zip(jpegs, codes, strict=True)]
        (raw / "list_eval_partition.txt").write_bytes("".join(lines).encode())
        lines = ["12\r\n", "Bald Smiling \r\n", *(f"{name} -1  {1 if int(name[:6]) % 3 else -1}\r\n" for name in jpegs)]
        (raw / "list_attr_celeba.txt").write_bytes("".join(lines).encode())
        if layout == "zip":
            with zipfile.ZipFile(raw / "img_align_celeba.zip", "w") as archive:
                for name, content in (files or jpegs).items():
                    archive.writestr(prefix + name, content)
        else:
            (raw / "img_align_celeba").mkdir()
            for name, content in (files or jpegs).items():
                (raw / "img_align_celeba" / name).write_bytes(content)
        return raw

    return make


@pytest.fixture(scope="session")
def data_params() -> Callable[..., DataParams]:
    """The section `data` of the parameters, for CelebA unless told otherwise."""

    def make(**changes: object) -> DataParams:
        section = {
            "source": "celeba",
            "name": "celeba",
            "crop": "ddim-128",
            "resample": "crop",
            "image_size": 16,
            "image_width": 0,
            "channels": 3,
            "train_split": "train",
            "valid_split": "valid",
            "labels": "none",
            "on_error": "stop",
            "store": "array",
        }
        return DataParams.model_validate(section | changes)

    return make


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve photographs are enough for several processes."""
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 2)
    monkeypatch.setattr(decoding, "SPREAD_CHUNKS", 2)
