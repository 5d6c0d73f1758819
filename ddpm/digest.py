"""The sha256 of a file: what bytes are known by, in every room."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal, read in blocks; `sha256sum` prints the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
