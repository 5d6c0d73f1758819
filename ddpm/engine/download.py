"""Fetch the published files of a data set where torchvision knows how: `ddpm prepare --download`.

Addresses and digests are torchvision's own tables, read only when they are asked for. Files stay packed as published.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddpm.data.digests import file_md5
from ddpm.engine.drive import fetch_from_drive
from ddpm.engine.transfer import Progress, fetch
from ddpm.experiment.workspace import file_lock

CELEBA_FILES = ("list_eval_partition.txt", "list_attr_celeba.txt", "img_align_celeba.zip")
"""The archive last: it is what the host refuses."""
CELEBA_PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
CIFAR_MD5 = {
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
}
"""As the page of CIFAR publishes them: torchvision has those of the Python version, which consists of pickles."""


@dataclass(frozen=True)
class RawFile:
    """A published file: where it is and what it must be."""

    name: str
    md5: str
    addresses: tuple[str, ...] = ()
    """Mirrors, tried in this order; empty for a file on Google Drive."""
    drive: str = ""
    """Its id on Google Drive."""


def _digits() -> list[RawFile]:
    return []


def _celeba() -> list[RawFile]:
    from torchvision.datasets import CelebA

    files = {name: RawFile(name, md5, drive=drive) for drive, md5, name in CelebA.file_list}
    return [files[name] for name in CELEBA_FILES]


def _cifar10() -> list[RawFile]:
    from torchvision.datasets import CIFAR10

    return [_binary(CIFAR10.url)]


def _cifar100() -> list[RawFile]:
    from torchvision.datasets import CIFAR100

    return [_binary(CIFAR100.url)]


def _binary(url: str) -> RawFile:
    """The binary version beside the one that torchvision reads."""
    folder, name = url.rsplit("/", 1)
    name = name.replace("python", "binary")
    return RawFile(name, CIFAR_MD5[name], (f"{folder}/{name}",))


def _mnist() -> list[RawFile]:
    from torchvision.datasets import MNIST

    return _mirrored(MNIST.mirrors, MNIST.resources)


def _fashion_mnist() -> list[RawFile]:
    from torchvision.datasets import FashionMNIST

    return _mirrored(FashionMNIST.mirrors, FashionMNIST.resources)


def _mirrored(mirrors: list[str], resources: list[tuple[str, str]]) -> list[RawFile]:
    return [RawFile(name, md5, tuple(f"{mirror}{name}" for mirror in mirrors)) for name, md5 in resources]


def _flowers102() -> list[RawFile]:
    from torchvision.datasets import Flowers102

    return _mirrored([Flowers102._download_url_prefix], [Flowers102._file_dict["image"]])


def _lfw() -> list[RawFile]:
    from torchvision.datasets import LFWPeople  # since 0.26 it has the address and no longer uses it

    return _mirrored([LFWPeople.download_url_prefix], [LFWPeople.file_dict["original"][1:]])


SETS = {
    "digits": _digits,
    "celeba": _celeba,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
}
"""Source -> its files."""
FOLDER_SETS = {"flowers102": _flowers102, "lfw": _lfw}
"""The same by name, for the source `folder`."""


def published(source: str, name: str) -> list[RawFile]:
    """The files that a source needs.

    Args:
        source: `data.source` of the parameters.
        name: `data.name`; what counts for the source `folder`.

    Raises:
        ValueError: a set that torchvision does not fetch.
    """
    files = FOLDER_SETS.get(name) if source == "folder" else SETS.get(source)
    if files is None:
        raise ValueError(
            f"--download: the set must be {', '.join(SETS)}, or folder with data.name {' or '.join(FOLDER_SETS)}, "
            f"got {source} with data.name {name}; get its files by hand as data/README.md says"
        )
    return files()


def download(
    source: str,
    name: str,
    folder: Path,
    *,
    announce: Callable[[str], object] = lambda _: None,
    total: Callable[[int], object] = lambda _: None,
    tick: Callable[[int], object] = lambda _: None,
) -> list[Path]:
    """Fetch what a source needs and does not have; what breaks off is continued by the next call.

    Args:
        source: `data.source` of the parameters.
        name: `data.name` of the parameters.
        folder: where the files go, `data/raw/<name>`; made if it does not exist.
        announce: called with lines for the user.
        total: called with the bytes of each file that begins, or begins anew; 0 where they are not known.
        tick: called with the number of bytes that were added.

    Returns:
        The files, those included that were there.

    Raises:
        ValueError: nobody delivers a file, or another file of that name is there; the message says what to do.
        OSError: the disk is full or not writable.
    """
    files = {folder / file.name: file for file in published(source, name)}
    if folder.is_file():
        raise ValueError(f"{folder}: --download needs a folder, got a file; name a folder, or leave out --download")
    if not files:
        announce(f"{source}: nothing to download")
    for path, file in files.items():
        if path.is_file():
            _require_published(path, file.md5)
            announce(f"{file.name}: is there")
    for path, file in files.items():
        if not path.is_file():
            with file_lock(folder / ".download.lock"):  # two runs would write the same part
                if not path.is_file():
                    _fetch(file, path, Progress(announce, total, tick))
    return list(files)


def _fetch(file: RawFile, target: Path, progress: Progress) -> None:
    if file.drive:
        fetch_from_drive(file.drive, target, file.md5, CELEBA_PAGE, progress)
    else:
        fetch(file.addresses, target, file.md5, progress)


def _require_published(path: Path, md5: str) -> None:
    if (found := file_md5(path)) != md5:
        raise ValueError(
            f"{path}: --download keeps a file that is there, and its md5 must be {md5}, got {found}; remove it to have "
            "it fetched, or run without --download to read it as it is"
        )
