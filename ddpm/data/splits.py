"""Which items are trained on and which are held out: split names and slices of them.

`train` is a split of the source, `train[0:9000]` a slice of its official list as Python would cut it, and `none` (for
the held-out images only) selects nothing. A slice that reaches past the end is refused, because it would silently
make a smaller data set than the parameter file says.
"""

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_SELECTION = re.compile(r"(?P<name>\w+)(?P<slice>\[(?P<start>\d*):(?P<stop>\d*)\])?", re.ASCII)


def choose(splits: Mapping[str, NDArray[np.int64]], train: str, valid: str) -> dict[str, NDArray[np.int64]]:
    """Select the items to train on and the held-out items.

    Args:
        splits: split name -> item numbers in the official order.
        train: a selection such as `train` or `train[0:9000]`.
        valid: likewise, or `none`.

    Returns:
        {"train": item numbers, "valid": item numbers, perhaps none}.

    Raises:
        ValueError: an unknown split, a slice out of range, or an item in both selections.
    """
    nothing = np.empty(0, dtype=np.int64)
    chosen = {
        "train": select(splits, train, "data.train_split"),
        "valid": nothing if valid == "none" else select(splits, valid, "data.valid_split"),
    }
    shared = np.intersect1d(chosen["train"], chosen["valid"]).size
    if shared:
        raise ValueError(
            f"params.yaml: data.valid_split must hold no training image, but {valid} shares {shared} images with "
            f"data.train_split {train}; take another split or slices that do not overlap"
        )
    return chosen


def select(splits: Mapping[str, NDArray[np.int64]], selection: str, key: str) -> NDArray[np.int64]:
    """The item numbers of one selection, in the official order.

    Args:
        splits: split name -> item numbers.
        selection: `name` or `name[start:stop]`; either bound may be left out.
        key: the parameter to name in errors.

    Raises:
        ValueError: the selection is malformed, unknown, empty or out of range.
    """
    match = _SELECTION.fullmatch(selection)
    if match is None:
        raise ValueError(f"params.yaml: {key} must read like train or train[0:9000], got {selection}")
    if match["name"] not in splits:
        raise ValueError(f"params.yaml: {key} must be a split of the source ({', '.join(splits)}), got {selection}")
    items = splits[match["name"]]
    if match["slice"] is None and len(items):
        return items
    start, stop = int(match["start"] or 0), int(match["stop"] or len(items))
    if not start < stop <= len(items):
        raise ValueError(
            f"params.yaml: {key} must select 0 <= start < stop <= {len(items)} (the images of "
            f"{match['name']}), got {selection}"
        )
    return items[start:stop]
