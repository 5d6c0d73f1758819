"""The IDX format of MNIST (LeCun et al. 1998), gzipped or not, for arrays of bytes.

Numbers of 4 bytes, big-endian: 0x800 + how many dimensions, then the dimensions; after them the bytes of the array.
"""

import gzip
import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

BYTES_MAGIC = 0x800
"""Plus the number of dimensions: 2049 for labels, 2051 for images."""
GZIP_START = b"\x1f\x8b"
WAY_OUT = "download it again (data/README.md)"


def is_gzip(content: bytes) -> bool:
    """Whether a file is gzipped, by its first bytes: browsers decompress, and keep the name."""
    return content.startswith(GZIP_START)


def read_idx(place: str, content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of an IDX file, which must have this shape.

    Args:
        place: the file, for messages.
        content: of the file, gzipped or not.
        shape: expected; no more than that is decompressed.

    Raises:
        ValueError: damaged, cut short, too long, or an array of another type or shape.
    """
    header = struct.Struct(f">{1 + len(shape)}I")
    num_bytes = header.size + int(np.prod(shape))
    if is_gzip(content):
        content = _decompress(place, content, num_bytes + 1)  # one byte more shows that there is more
    magic, *found = header.unpack(content[: header.size].ljust(header.size, b"\0"))
    if magic != BYTES_MAGIC + len(shape):
        raise ValueError(f"{place} must begin with {BYTES_MAGIC + len(shape)} (IDX), got {magic}; {WAY_OUT}")
    if tuple(found) != shape:
        raise ValueError(f"{place} must have the shape {shape}, got {tuple(found)}; {WAY_OUT}")
    if len(content) != num_bytes:
        got = "more" if len(content) > num_bytes else f"{len(content)}"
        raise ValueError(f"{place} must have {num_bytes} bytes, as its shape says, got {got}; {WAY_OUT}")
    return np.frombuffer(content, dtype=np.uint8, offset=header.size).reshape(shape)


def _decompress(place: str, content: bytes, most_bytes: int) -> bytes:
    """The first bytes of what is gzipped; where there are no more, its checksum is compared."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            return file.read(most_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{place} must be a whole gzip file ({error}); {WAY_OUT}") from None
