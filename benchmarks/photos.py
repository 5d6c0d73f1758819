"""Frames of CelebA's size in its official layout, made from photographs that are at hand or from made-up pictures."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FRAME = (178, 218)
QUALITY = 85
"""At which enlarged photographs of half the size take the 7 KB that those of the official archive take."""
ARCHIVE, FOLDER = "img_align_celeba.zip", "img_align_celeba"
DIFFERENT = 2_000
"""So many frames differ; they repeat under other names."""


def frames(source: Path | None) -> list[bytes]:
    """JPEG files of 178x218: photographs of a zip, enlarged, or made-up pictures of smooth noise."""
    pictures = _photographs(source) if source else _made_up()
    found = []
    for picture in pictures:
        file = io.BytesIO()
        picture.resize(FRAME, Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
        found.append(file.getvalue())
    return found


def write_layout(files: list[bytes], count: int, folder: Path) -> None:
    """Write the official archive, the same as a folder, and all annotations that torchvision asks for."""
    names = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    (folder / FOLDER).mkdir(parents=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        for number, name in enumerate(names):
            content = files[number % len(files)]
            archive.writestr(f"{FOLDER}/{name}", content)
            (folder / FOLDER / name).write_bytes(content)
    head = f"{count}\nfirst second \n"
    for file, start, row in (
        ("list_eval_partition.txt", "", "0"),
        ("identity_CelebA.txt", "", "1"),
        ("list_attr_celeba.txt", head, "1 -1"),
        ("list_bbox_celeba.txt", head, "1 1"),
        ("list_landmarks_align_celeba.txt", head, "1 1"),
    ):
        (folder / file).write_text(start + "".join(f"{name} {row}\n" for name in names))


def write_zip(count: int, path: Path) -> None:
    """A zip of as many small images as wanted, no two of them alike."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "PNG", compress_level=0)
            archive.writestr(f"images/{number:07d}.png", file.getvalue())


def _photographs(source: Path) -> Iterator[Image.Image]:
    with zipfile.ZipFile(source) as archive:
        for name in [name for name in archive.namelist() if name.endswith(".jpg")][:DIFFERENT]:
            yield Image.open(io.BytesIO(archive.read(name))).convert("RGB")


def _made_up() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    for _ in range(DIFFERENT):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 11, 3), dtype=np.uint8))
        fine = rng.normal(0, 4, (109, 89, 3))
        smooth = np.asarray(coarse.resize((89, 109), Image.Resampling.BICUBIC)) + fine
        yield Image.fromarray(smooth.clip(0, 255).astype(np.uint8))
