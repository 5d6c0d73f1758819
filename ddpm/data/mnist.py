"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 70,000 gray images of 10 classes each, 28x28.

Both are four IDX files. How to obtain them: data/README.md.
"""

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog, pick_labels
from ddpm.data.contents import Contents, read_whole
from ddpm.data.files import Files, find_download, open_files
from ddpm.data.idx import is_gzip, read_idx

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Split -> the files of its images and its labels, when they are decompressed."""
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
SIDE = 28


def open_mnist(
    raw: Path,
    labels: str,
    scratch: Path,
    *,
    md5: Mapping[str, str] = MNIST_MD5,
    num_train: int = 60_000,
    num_test: int = 10_000,
) -> Catalog:
    """Open MNIST; splits are `train` (60,000), `test` (10,000) and `all`.

    Args:
        raw: the four files, gzipped or not, in a folder or an archive.
        labels: `digit` or `none`.
        scratch: folder for a decompressed copy.
        md5: file name -> digest of the published file; other files are used, with a warning.
        num_train, num_test: images of the two splits.

    Raises:
        ValueError: a file is missing, damaged or not what its name says, or other labels.
    """
    contents = _read(raw, scratch, md5, {"train": num_train, "test": num_test})
    return contents.catalog(*pick_labels("mnist", labels, "digit", contents.labels[:, 0], DIGITS))


def open_fashion_mnist(
    raw: Path,
    labels: str,
    scratch: Path,
    *,
    md5: Mapping[str, str] = FASHION_MD5,
    num_train: int = 60_000,
    num_test: int = 10_000,
) -> Catalog:
    """Open Fashion-MNIST like `open_mnist`; labels are `class` or `none`."""
    contents = _read(raw, scratch, md5, {"train": num_train, "test": num_test})
    return contents.catalog(*pick_labels("fashion-mnist", labels, "class", contents.labels[:, 0], CLOTHES))


def _read(raw: Path, scratch: Path, md5: Mapping[str, str], sizes: Mapping[str, int]) -> Contents:
    files = open_files(find_download(raw), scratch)
    record = files.record | {"num_files": 2 * len(FILES)}
    frames, labels = [], []
    for split, (images_file, labels_file) in FILES.items():
        frames.append(_array(files, images_file, (sizes[split], SIDE, SIDE), md5, record))
        labels.append(_array(files, labels_file, (sizes[split],), md5, record))
        if (highest := labels[-1].max()) >= len(DIGITS):
            raise ValueError(
                f"{files.path}: labels of {labels_file} must be 0..9, got {highest}; download it again (data/README.md)"
            )
    numbers = np.concatenate(labels).astype(np.int64)[:, None]
    return Contents(np.concatenate(frames), numbers, sizes, record, files.stamp)


def _array(
    files: Files, name: str, shape: tuple[int, ...], published: Mapping[str, str], record: dict[str, Any]
) -> NDArray[np.uint8]:
    """The array of one file; whether the file is the published one goes to the record.

    Raises:
        ValueError: missing, damaged, or an array of another kind or shape.
    """
    spellings = (f"{name}.gz", name, name.replace("-idx", ".idx"))  # the last one comes from some unpackers
    item = next((item for spelling in spellings if (item := files.find(spelling))), None)
    if item is None:
        raise ValueError(f"{files.path}: {name}.gz must be here, or decompressed; download it as data/README.md says")
    content = read_whole(files, item)
    expected = published[f"{name}.gz" if is_gzip(content) else name]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        warnings.warn(
            f"{files.path}: {item.name}: not the published file (md5 {found}, published {expected}); "
            "the manifest records it, and numbers are not comparable with published ones",
            stacklevel=4,
        )
    record |= {f"{name}_md5": found, f"{name}_is_official": found == expected}
    return read_idx(f"{files.path}: {item.name}", content, shape)
