"""CelebA, aligned and cropped (Liu et al. 2015): 202,599 photographs of faces, 178x218.

The official partition file is authoritative: it says which photographs exist and which split each belongs to. Only
the photographs that an experiment selects have to be there. How to obtain the files: data/README.md.
"""

import difflib
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Catalog
from ddpm.data.digests import file_md5
from ddpm.data.photos import FolderPhotos, ZipPhotos

ARCHIVE, FOLDER = "img_align_celeba.zip", "img_align_celeba"
PARTITION, ATTRIBUTES = "list_eval_partition.txt", "list_attr_celeba.txt"
OFFICIAL_MD5 = {
    ARCHIVE: "00d2c5bc6d35e252742224ab0c1e8fcb",
    PARTITION: "d32c9cbf5e040fd4025c592c306e6668",
    ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c",
}
SPLIT_CODES = {"0": "train", "1": "valid", "2": "test"}


def open_celeba(raw: Path, labels: str) -> Catalog:
    """Open CelebA; splits are `train`, `valid`, `test` (162,770 / 19,867 / 19,962) and `all`.

    Args:
        raw: folder of the official files: the zip (preferred when both are there) or the folder of photographs, the
            partition file, and for labels the attribute file.
        labels: an attribute such as `Smiling` (classes 0 and 1), or `none`.

    Raises:
        ValueError: a file is missing or malformed, or there is no such attribute.
    """
    names, codes = _read_partition(_required(raw, PARTITION))
    photos, record = _open_photos(raw)
    record |= _annotation_record(raw, PARTITION, "partition")
    picked: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
    classes: tuple[str, ...] = ()
    if labels != "none":
        picked, classes = _read_attribute(_required(raw, ATTRIBUTES), labels, names)
        record |= _annotation_record(raw, ATTRIBUTES, "attributes")
    splits = {split: np.flatnonzero(codes == int(code)) for code, split in SPLIT_CODES.items()}
    return Catalog(
        names=names,
        splits=splits | {"all": np.arange(len(names))},
        labels=picked,
        classes=classes,
        read=photos,
        record=record,
        require=partial(_require, raw, photos),
        parallel=True,
    )


def _required(raw: Path, name: str) -> Path:
    path = raw / name
    if not path.is_file():
        raise ValueError(f"{path}: the official file {name} must be here; download it as data/README.md says")
    return path


def _open_photos(raw: Path) -> tuple[FolderPhotos | ZipPhotos, dict[str, str | bool]]:
    archive, folder = raw / ARCHIVE, raw / FOLDER
    if archive.is_file():
        md5 = file_md5(archive)
        official = md5 == OFFICIAL_MD5[ARCHIVE]
        return ZipPhotos(archive), {"archive": ARCHIVE, "archive_md5": md5, "archive_is_official": official}
    if folder.is_dir():
        return FolderPhotos(folder), {"archive": FOLDER, "archive_is_official": False}
    raise ValueError(f"{raw}: {ARCHIVE} or the folder {FOLDER} must be here; download it as data/README.md says")


def _annotation_record(raw: Path, name: str, key: str) -> dict[str, str | bool]:
    """The digest of an annotation file; a changed file is used and said to be changed."""
    md5 = file_md5(raw / name)
    official = md5 == OFFICIAL_MD5[name]
    if not official:
        warnings.warn(
            f"{raw / name}: not the published file (md5 {md5}, published {OFFICIAL_MD5[name]}); "
            "the manifest records it, and numbers are not comparable with published ones",
            stacklevel=3,
        )
    return {f"{key}_md5": md5, f"{key}_is_official": official}


def _require(raw: Path, photos: FolderPhotos | ZipPhotos, names: Sequence[str]) -> None:
    absent = photos.absent(names)
    if absent:
        raise ValueError(
            f"{raw}: all {len(names)} selected photographs must be here, {len(absent)} are missing, first {absent[0]}; "
            "complete the download (data/README.md) or select fewer, such as data.train_split train[0:9000]"
        )


def _lines(path: Path) -> list[str]:
    """Lines of an annotation file (published with CRLF); bytes that are not ASCII make a line malformed."""
    return path.read_text(encoding="ascii", errors="replace").splitlines()


def _read_partition(path: Path) -> tuple[list[str], NDArray[np.int64]]:
    """File names and split codes 0, 1, 2 in the official order.

    Raises:
        ValueError: a malformed line, a name twice, or no line at all.
    """
    names, codes = [], []
    for number, line in enumerate(_lines(path), start=1):
        match line.split():
            case [name, code] if code in SPLIT_CODES and _is_file_name(name):
                names.append(name)
                codes.append(int(code))
            case []:
                continue
            case _:
                raise ValueError(f"{path}:{number}: must read like 000001.jpg 0 (or 1, 2), got {line[:80]!r}")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{path}: must name each photograph once, got {len(names)} lines, {len(set(names))} names")
    return names, np.array(codes, dtype=np.int64)


def _is_file_name(name: str) -> bool:
    return not set(name) & set("/\\:") and name not in (".", "..")


def _read_attribute(path: Path, attribute: str, names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels 0 (published as -1) and 1 of the named photographs, and the two class names.

    Raises:
        ValueError: an unknown attribute, a malformed line, or a photograph without a line.
    """
    lines = _lines(path)
    attributes = lines[1].split() if len(lines) > 1 else []
    if attribute not in attributes:
        near = difflib.get_close_matches(attribute, attributes, n=3, cutoff=0.4) or attributes[:3]
        raise ValueError(
            f"params.yaml: data.labels must be none or an attribute of {path.name} such as {', '.join(near)}, "
            f"got {attribute}"
        )
    column = attributes.index(attribute) + 1
    values = {}
    for number, line in enumerate(lines[2:], start=3):
        cells = line.split()
        if cells and (len(cells) != len(attributes) + 1 or cells[column] not in ("-1", "1")):
            raise ValueError(f"{path}:{number}: must hold a name and {len(attributes)} values -1 or 1")
        if cells:
            values[cells[0]] = int(cells[column] == "1")
    unlabeled = [name for name in names if name not in values]
    if unlabeled:
        raise ValueError(
            f"{path}: must have a line for each photograph of {PARTITION}, {len(unlabeled)} lack one, "
            f"first {unlabeled[0]}; download it again as data/README.md says"
        )
    return np.array([values[name] for name in names], dtype=np.int64), (f"not {attribute}", attribute)
