"""Images that are there more than once: the same files, or different files whose prepared pixels are the same."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = 10
"""Groups that a report names."""
NAMED = 5
"""Images of a group that are named; the rest are counted."""


def report(digests: Sequence[NDArray[np.uint8]], name: Callable[[int, int], str]) -> dict[str, Any]:
    """What is there more than once, within a split or across two.

    Args:
        digests: for each split uint8 (images, 32): 16 bytes of each file, then 16 of its prepared pixels.
        name: (split, row) -> name of an image.

    Returns:
        For `files` and `pixels`: `groups` of equal images, `repeated`: how many of them have an equal one before them,
        `held_out_in_train`: images of later splits that are in the first one, too; and `examples`, names of the first
        groups.
    """
    firsts = np.cumsum([0, *map(len, digests)])

    def named(number: int) -> str:
        split = int(np.searchsorted(firsts, number, side="right")) - 1
        return name(split, number - int(firsts[split]))

    found = {}
    for kind, part in (("files", slice(0, 16)), ("pixels", slice(16, 32))):
        groups = _groups(np.concatenate([split[:, part] for split in digests]))
        across = [len(group) - bisect_left(group, firsts[1]) for group in groups if group[0] < firsts[1]]
        found[kind] = {
            "groups": len(groups),
            "repeated": sum(len(group) - 1 for group in groups),
            "held_out_in_train": sum(across),
            "examples": [_listed([named(number) for number in group]) for group in groups[:EXAMPLES]],
        }
    return found


def _groups(keys: NDArray[np.uint8]) -> list[list[int]]:
    """The rows of equal keys, (rows, 16), of all keys that occur at least twice; sorted by their first row."""
    pairs = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))  # stable: equal keys stay in the order of their rows
    differs = (pairs[order[1:]] != pairs[order[:-1]]).any(axis=1)
    bounds = np.concatenate([[0], np.flatnonzero(differs) + 1, [len(order)]])
    several = np.flatnonzero(np.diff(bounds) > 1)
    return sorted(order[bounds[group] : bounds[group + 1]].tolist() for group in several)


def _listed(names: list[str]) -> list[str]:
    return names if len(names) <= NAMED else [*names[:NAMED], f"and {len(names) - NAMED} more"]
