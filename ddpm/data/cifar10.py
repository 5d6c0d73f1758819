"""CIFAR-10 (Krizhevsky 2009), the official *binary* version: no pickles are opened.

A record is 3,073 bytes: the label, then 32x32 red, green and blue planes. How to obtain it: data/README.md.
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import ArrayReader, Catalog, pick_labels
from ddpm.data.digests import file_md5
from ddpm.digest import file_sha256

ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
OFFICIAL_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
BATCHES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
RECORD_BYTES = 1 + 3 * SIDE * SIDE


def open_cifar10(raw: Path, labels: str, *, md5: str = OFFICIAL_MD5, batch_images: int = 10_000) -> Catalog:
    """Open CIFAR-10; splits are `train` (50,000), `test` (10,000) and `all`.

    Args:
        raw: folder of the archive (preferred, its md5 is checked) or of the folder `cifar-10-batches-bin`.
        labels: `class` or `none`.
        md5: what the archive must have; another for a made-up archive.
        batch_images: images in each of the six batch files.

    Raises:
        ValueError: a file is missing, changed or cut short, or other labels.
    """
    batches, record = _read(raw, md5)
    rows = np.concatenate([_records(raw, name, content, batch_images) for name, content in batches.items()])
    frames = rows[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)  # NHWC view: planes are copied one by one
    num_train = len(BATCHES["train"]) * batch_images
    names = [f"train-{number:05d}" for number in range(num_train)]
    names += [f"test-{number:05d}" for number in range(len(rows) - num_train)]
    picked, classes = pick_labels("cifar10", labels, "class", rows[:, 0].astype(np.int64), CLASSES)
    return Catalog(
        names=names,
        splits={
            "train": np.arange(num_train),
            "test": np.arange(num_train, len(rows)),
            "all": np.arange(len(rows)),
        },
        labels=picked,
        classes=classes,
        read=ArrayReader(names, frames),
        record=record,
    )


def _read(raw: Path, md5: str) -> tuple[dict[str, bytes], dict[str, str | bool]]:
    """Batch file name -> content, and the digests."""
    archive, folder = raw / ARCHIVE, raw / FOLDER
    wanted = [name for names in BATCHES.values() for name in names]
    if archive.is_file():
        found = file_md5(archive)
        if found != md5:
            raise ValueError(f"{archive}: md5 must be {md5}, got {found}; download it again (data/README.md)")
        return _unpack(archive, wanted), {"archive": ARCHIVE, "archive_md5": found}
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not folder.is_dir() or missing:
        raise ValueError(
            f"{raw}: {ARCHIVE} or the folder {FOLDER} with all six .bin files must be here; "
            "download it as data/README.md says"
        )
    digests: dict[str, str | bool] = {f"{name}_sha256": file_sha256(folder / name) for name in wanted}
    return {name: (folder / name).read_bytes() for name in wanted}, {"archive": FOLDER} | digests


def _unpack(archive: Path, wanted: list[str]) -> dict[str, bytes]:
    """The wanted members, in memory: nothing of the archive is written to the disk."""
    contents = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix("./").removeprefix(f"{FOLDER}/")
                if name in wanted and (file := tar.extractfile(member)) is not None:
                    contents[name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive}: must be a whole tar.gz ({error}); download it again (data/README.md)") from None
    missing = [name for name in wanted if name not in contents]
    if missing:
        raise ValueError(f"{archive}: must hold {FOLDER}/{missing[0]}; download the binary version (data/README.md)")
    return {name: contents[name] for name in wanted}  # the archive's own order is another


def _records(raw: Path, name: str, content: bytes, batch_images: int) -> NDArray[np.uint8]:
    """The records of one batch file: (images, 3073)."""
    if len(content) != batch_images * RECORD_BYTES:
        raise ValueError(
            f"{raw}: {name} must hold {batch_images} records of {RECORD_BYTES} bytes, got {len(content)} bytes; "
            "download it again (data/README.md)"
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(batch_images, RECORD_BYTES)
    if rows[:, 0].max() >= len(CLASSES):
        raise ValueError(f"{raw}: labels of {name} must be 0..9, got {rows[:, 0].max()}; download it again")
    return rows
