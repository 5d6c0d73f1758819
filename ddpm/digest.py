"""The sha256 of a file: what bytes are known by, in every room."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK_BYTES = 2**22
"""That are digested at once. Other threads run meanwhile, and between two blocks this one may wait for them."""


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal, read in blocks; `sha256sum` prints the same."""
    return file_digest(path, hashlib.sha256)


def file_digest(path: Path, start: "Callable[[], _Hash]") -> str:
    """The digest of a file in hexadecimal.

    Args:
        path: of the file.
        start: makes the digest of nothing, such as `hashlib.sha256`.
    """
    digest, block = start(), memoryview(bytearray(min(BLOCK_BYTES, path.stat().st_size + 1)))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()
