"""Samples in the forms that other programs read: PNG files, a zip of them, the ADM evaluator's npz, sheets for people.

The same samples give the same bytes in every form: no file holds a time, and zips are stored, not compressed.
"""

import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.drawing.grid import as_picture, lay_out
from ddpm.engine.sample_manifest import IMAGES, LABELS, MANIFEST
from ddpm.experiment.workspace import atomic_path

Pixels = NDArray[np.uint8]
Tick = Callable[[int], object]
CHUNK_IMAGES = 1000


@dataclass(frozen=True)
class Samples:
    """Images uint8 (images, height, width, 1 or 3), a memory map; labels (images,) int64, if they mean something."""

    images: Pixels
    labels: NDArray[np.int64] | None


def open_samples(place: Path) -> Samples:
    """Open a folder that `ddpm sample` or `ddpm samples merge` wrote, or an .npy file of images alone.

    Labels count if the manifest says that the images were drawn by them; without a manifest, if any is not 0.

    Raises:
        ValueError: there are no such images, or labels that are not theirs.
    """
    path = place / IMAGES if place.is_dir() else place
    images = _load(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise ValueError(
            f"{path}: images must be uint8 (N, height, width, 1 or 3), got {images.dtype} {images.shape}; "
            "name the folder of samples"
        )
    if not place.is_dir() or not (place / LABELS).is_file():
        return Samples(images, None)
    labels = _load(place / LABELS)
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{place / LABELS}: must hold one int64 label for each of {len(images)} images, "
            f"got {labels.dtype} {labels.shape}; draw the samples again"
        )
    manifest = place / MANIFEST
    conditional = json.loads(manifest.read_bytes())["conditional"] if manifest.is_file() else labels.any()
    return Samples(images, labels if conditional else None)


def _load(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `python -m ddpm sample` makes samples")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: damaged array ({str(error).splitlines()[0]}); draw the samples again") from None
    return array


def png(image: Pixels) -> bytes:
    """(height, width, 1 or 3) as a gray or an RGB PNG, without any text or time in it."""
    buffer = io.BytesIO()
    as_picture(image).save(buffer, format="PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def numbered(images: Pixels) -> Iterator[tuple[str, bytes]]:
    """000000.png, 000001.png, ... and their bytes, in the order of the images."""
    for number, image in enumerate(images):
        yield f"{number:06}.png", png(image)


def sheets(images: Pixels, rows: int, columns: int, padding: int, zoom: int = 1) -> Iterator[tuple[str, bytes]]:
    """00000.png, ...: rows x columns images each, in reading order; the last sheet has the rows that are left."""
    for number, start in enumerate(range(0, len(images), rows * columns)):
        some = np.asarray(images[start : start + rows * columns])
        yield f"{number:05}.png", png(lay_out(some, columns, zoom, padding))


def write_folder(files: Iterator[tuple[str, bytes]], out: Path, force: bool, tick: Tick) -> int:
    """Write numbered PNGs; they appear in `out` together, when all are written. Returns how many.

    Args:
        out: new or empty. With `force` it may hold files: numbered PNGs are removed, all else is left alone.
        tick: called with 1 after each file.

    Raises:
        ValueError: out is a file, or not empty.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: must be a folder, got a file; name another --out")
    held = sorted(out.iterdir()) if out.is_dir() else []
    if held and not force:
        raise ValueError(f"{out}: must be new or empty, got {len(held)} files; name another --out, or use --force")
    unfinished, count = out.with_name(out.name + ".tmp"), 0
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    unfinished.mkdir(parents=True)
    for name, content in files:
        (unfinished / name).write_bytes(content)
        tick(1)
        count += 1
    if not held:
        os.replace(unfinished, out)  # noqa: PTH105  (an empty folder gives way)
        return count
    for path in held:
        if re.fullmatch(r"\d{5,}\.png", path.name):
            path.unlink()
    for path in sorted(unfinished.iterdir()):
        os.replace(path, out / path.name)  # noqa: PTH105
    unfinished.rmdir()
    return count


def write_zip(files: Iterator[tuple[str, bytes]], path: Path, tick: Tick) -> None:
    """Write files into a stored zip, dated 1980; the same files give the same bytes on every system."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01, the first day of zip
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
            tick(1)


def write_npz(samples: Samples, path: Path, tick: Tick) -> None:
    """Write the form of the evaluator of ADM (Dhariwal & Nichol 2021): arr_0 uint8 NHWC, and arr_1 labels, if any.

    The bytes are those of `np.savez`. Gray images are repeated to three channels, since that evaluator wants RGB.
    """
    images = samples.images
    header = {"descr": "|u1", "fortran_order": False, "shape": (*images.shape[:3], 3)}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(images), CHUNK_IMAGES):
                some = images[start : start + CHUNK_IMAGES]
                file.write(np.ascontiguousarray(np.broadcast_to(some, (*some.shape[:3], 3))).tobytes())
                tick(len(some))
        if samples.labels is not None:
            with archive.open("arr_1.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(samples.labels), allow_pickle=False)


def require_free(path: Path, force: bool) -> None:
    """Refuse to write over a file.

    Raises:
        ValueError: there is something at `path`, and it may not be overwritten.
    """
    if path.is_dir() or (path.exists() and not force):
        kind = "a folder" if path.is_dir() else "a file"
        raise ValueError(
            f"{path}: must not exist, got {kind}; name another --out{'' if path.is_dir() else ', or use --force'}"
        )
