"""Digests of files: what a data set is known by."""

import hashlib
from pathlib import Path


def file_md5(path: Path) -> str:
    """The md5 of a file in hexadecimal: the digest that CelebA and CIFAR-10 are published with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal; `sha256sum` prints the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
