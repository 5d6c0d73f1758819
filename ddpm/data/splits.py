"""Which items are trained on and which are held out: split names and parts of them.

`train` is a split of the source and `none` (for the held-out images only) selects nothing. `train[0:9000]` is a slice
of its official list as Python would cut it: for a partial download. `train[0%:95%]` are the items whose place on a line
from 0 to 100 %, by a hash of the name, lies there: a random part that depends on no order, and stays what it is when
items come or go. A slice that reaches past the end is refused, because it would silently make a smaller data set than
the parameter file says.
"""

import hashlib
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Items

NOTHING = "none"
"""The selection of no item."""
_NUMBERS = r"(?P<start>\d*):(?P<stop>\d*)"
_PERCENT = r"(?:(?P<low>\d+(?:\.\d+)?)%)?:(?:(?P<high>\d+(?:\.\d+)?)%)?"
_SELECTION = re.compile(rf"(?P<name>\w+)(?:(?P<slice>\[{_NUMBERS}\])|(?P<share>\[{_PERCENT}\]))?", re.ASCII)


def choose(
    splits: Mapping[str, NDArray[np.int64]], items: Items, train: str, valid: str
) -> dict[str, NDArray[np.int64]]:
    """Select the items to train on and the held-out items.

    Args:
        splits: split name -> item numbers in the official order.
        items: whose names decide about percentages.
        train: a selection such as `train`, `train[0:9000]` or `all[0%:95%]`.
        valid: likewise, or `none`.

    Returns:
        {"train": item numbers, "valid": item numbers, perhaps none}.

    Raises:
        ValueError: an unknown split, a part out of range, or an item in both selections.
    """
    no_items = np.empty(0, dtype=np.int64)
    chosen = {
        "train": select(splits, items, train, "data.train_split"),
        "valid": no_items if valid == NOTHING else select(splits, items, valid, "data.valid_split"),
    }
    shared = np.intersect1d(chosen["train"], chosen["valid"]).size
    if shared:
        raise ValueError(
            f"params.yaml: data.valid_split must hold no training image, but {valid} shares {shared} images with "
            f"data.train_split {train}; take another split or parts that do not overlap"
        )
    return chosen


def select(splits: Mapping[str, NDArray[np.int64]], items: Items, selection: str, key: str) -> NDArray[np.int64]:
    """The item numbers of one selection, in the official order.

    Args:
        splits: split name -> item numbers.
        items: whose names decide about percentages.
        selection: `name`, `name[start:stop]` or `name[low%:high%]`; either bound may be left out.
        key: the parameter to name in errors.

    Raises:
        ValueError: the selection is malformed, unknown, empty or out of range.
    """
    match = _SELECTION.fullmatch(selection)
    if match is None:
        raise ValueError(f"params.yaml: {key} must read like train, train[0:9000] or train[0%:95%], got {selection}")
    if match["name"] not in splits:
        raise ValueError(f"params.yaml: {key} must be a split of the source ({', '.join(splits)}), got {selection}")
    chosen = splits[match["name"]]
    if match["share"] is not None:
        return _share(chosen, items, float(match["low"] or 0), float(match["high"] or 100), f"{key} {selection}")
    if match["slice"] is None and len(chosen):
        return chosen
    start, stop = int(match["start"] or 0), int(match["stop"] or len(chosen))
    if not start < stop <= len(chosen):
        raise ValueError(
            f"params.yaml: {key} must select 0 <= start < stop <= {len(chosen)} (the images of "
            f"{match['name']}), got {selection}"
        )
    return chosen[start:stop]


def at_most(selection: str) -> int | None:
    """How many items a selection can have, before anything is opened; None where it does not say."""
    match = _SELECTION.fullmatch(selection)
    if match is None or not match["stop"]:
        return 0 if selection == NOTHING else None
    return int(match["stop"]) - int(match["start"] or 0)


def place_of(name: str) -> float:
    """Where a name lies between 0 and 100 %, by the first 8 bytes of its sha256."""
    hashed = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(hashed[:8], "big") / 2**64 * 100


def _share(chosen: NDArray[np.int64], items: Items, low: float, high: float, selection: str) -> NDArray[np.int64]:
    if not low < high <= 100:
        raise ValueError(f"params.yaml: {selection} must select 0% <= low < high <= 100%")
    places = np.array([place_of(items.name(int(number))) for number in chosen])
    part = chosen[(low <= places) & (places < high)]
    if not part.size:
        raise ValueError(f"params.yaml: {selection} must select an image, got none of {len(chosen)}; widen it")
    return part
