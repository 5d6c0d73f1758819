"""The digest that data sets are published with."""

import hashlib
from pathlib import Path


def file_md5(path: Path) -> str:
    """The md5 of a file in hexadecimal: the digest that CelebA and CIFAR-10 are published with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
