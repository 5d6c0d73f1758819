"""The 1,797 handwritten digits that are shipped with scikit-learn: a data set without a download.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998): 8x8, 17 gray levels.
"""

import hashlib
from pathlib import Path

import numpy as np

from ddpm.data.catalog import ArrayReader, Catalog, Items, pick_labels

TEST_SHARE = 6
"""One digit in this many is held out."""


def open_digits(raw: Path, labels: str, scratch: Path) -> Catalog:
    """Open the digits; splits are `train` (1,500), `test` (297) and `all`.

    Args:
        raw, scratch: not read; every source is opened alike.
        labels: `digit` or `none`.

    Raises:
        ValueError: other labels.
    """
    # sklearn takes a second to import, and only this source needs it
    from sklearn.datasets import load_digits

    del raw, scratch
    bunch = load_digits()
    frames = ((bunch.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # 0..16 -> 0..255, halves up
    names = [f"digit-{number:04d}" for number in range(len(frames))]
    test = np.array([_is_test(name) for name in names])
    picked, classes = pick_labels("digits", labels, "digit", bunch.target.astype(np.int64), tuple("0123456789"))
    pixels_sha256 = hashlib.sha256(frames.tobytes()).hexdigest()
    return Catalog(
        items=Items(names),
        splits={"train": np.flatnonzero(~test), "test": np.flatnonzero(test), "all": np.arange(len(names))},
        labels=picked,
        classes=classes,
        read=ArrayReader(frames),
        record={"pixels_sha256": pixels_sha256},
        stamp=pixels_sha256,
        parallel=False,
    )


def _is_test(name: str) -> bool:
    """By a hash of the name: which split a digit is in depends on no order, count or generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % TEST_SHARE == 0
