"""The official *binary* files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009): no pickles are opened.

A record is one byte for each kind of label, then 32x32 red, green and blue planes.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddpm.data.contents import Contents, read_whole
from ddpm.data.digests import file_md5
from ddpm.data.files import Files, find_download, open_files

SIDE = 32
PIXEL_BYTES = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Batch:
    """One file of records."""

    split: str
    file: str
    num_images: int


@dataclass(frozen=True)
class Layout:
    """How one of the two data sets is published."""

    archive: str
    md5: str
    batches: tuple[Batch, ...]
    """In the official order; those of a split stand together."""
    num_classes: tuple[int, ...]
    """Of each label byte, in their order in a record."""


def open_records(raw: Path, scratch: Path, layout: Layout) -> Contents:
    """Read all records, from the official archive, from what it unpacks to, or from any other archive of that.

    Args:
        raw: the download; in a folder, the official archive is preferred to unpacked files.
        scratch: folder for a decompressed copy.
        layout: what is expected.

    Raises:
        ValueError: a file is missing, changed, cut short or damaged.
    """
    path = raw / layout.archive if (raw / layout.archive).is_file() else find_download(raw)
    md5 = file_md5(path) if path.is_file() else ""
    if path.name == layout.archive and md5 and md5 != layout.md5:
        raise ValueError(f"{path}: md5 must be {layout.md5}, got {md5}; download it again (data/README.md)")
    files = open_files(path, scratch)
    record = files.record | {"is_official": md5 == layout.md5, "num_files": len(layout.batches)}
    if md5:
        record["archive_md5"] = md5
    num_images = sum(batch.num_images for batch in layout.batches)
    num_labels = len(layout.num_classes)
    rows = np.empty((num_images, num_labels + PIXEL_BYTES), dtype=np.uint8)
    sizes: Counter[str] = Counter()
    for batch in layout.batches:
        content = _content(files, batch, layout)
        record[f"{batch.file}_sha256"] = hashlib.sha256(content).hexdigest()
        first = sizes.total()
        rows[first : first + batch.num_images] = np.frombuffer(content, dtype=np.uint8).reshape(batch.num_images, -1)
        sizes[batch.split] += batch.num_images
    # a view: planes are copied to pixels image by image
    frames = rows[:, num_labels:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Contents(frames, rows[:, :num_labels].astype(np.int64), sizes, record, files.stamp)


def _content(files: Files, batch: Batch, layout: Layout) -> bytes:
    """The bytes of one file: whole records, with labels in their ranges."""
    item = files.find(batch.file)
    if item is None:
        raise ValueError(
            f"{files.path}: {batch.file} must be here, in {layout.archive} or unpacked from it; "
            "download the binary version (data/README.md)"
        )
    content = read_whole(files, item)
    record_bytes = len(layout.num_classes) + PIXEL_BYTES
    if len(content) != batch.num_images * record_bytes:
        raise ValueError(
            f"{files.path}: {item.name} must hold {batch.num_images} records of {record_bytes} bytes, "
            f"got {len(content)} bytes; download it again (data/README.md)"
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(batch.num_images, record_bytes)
    for kind, num_classes in enumerate(layout.num_classes):
        if (highest := rows[:, kind].max()) >= num_classes:
            raise ValueError(
                f"{files.path}: labels of {item.name} (byte {kind} of a record) must be 0..{num_classes - 1}, "
                f"got {highest}; download it again (data/README.md)"
            )
    return content
