"""Attribute lists as CelebA has them: a count, the names of the attributes, then lines of a file name and -1 or 1 each.

Labels are one attribute, `Smiling`, or several, `Male+Smiling`, whose values together are one number: the first
attribute is its most significant bit.
"""

import difflib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

MOST_ATTRIBUTES = 8
"""Joined in one label: 256 classes."""


def read_attributes(place: str, content: bytes, wanted: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """The labels of a list, and the names of the classes.

    Args:
        place: of the list, for messages.
        content: of the list.
        wanted: an attribute, or up to eight joined by `+`.

    Returns:
        File name -> label, 0..2^attributes-1, where a published -1 is the bit 0; and 2^attributes class names, such as
        `not Smiling` and `Smiling`, or `Male, not Smiling`.

    Raises:
        ValueError: an unknown attribute, one twice, too many, or a malformed line.
    """
    lines = content.decode("ascii", errors="replace").splitlines()
    known = lines[1].split() if len(lines) > 1 else []
    names = wanted.split("+")
    columns = [known.index(_known(place, name, known, wanted)) + 1 for name in names]
    if len(set(columns)) < len(columns) or len(columns) > MOST_ATTRIBUTES:
        raise ValueError(
            f"params.yaml: data.labels must join at most {MOST_ATTRIBUTES} attributes, each once, got {wanted}"
        )
    values = {}
    for number, line in enumerate(lines[2:], start=3):
        cells = line.split()
        if not cells:
            continue
        bits = [cells[column] for column in columns] if len(cells) == len(known) + 1 else []
        if not bits or not set(bits) <= {"-1", "1"}:
            raise ValueError(f"{place}:{number}: must hold a name and {len(known)} values -1 or 1")
        values[cells[0]] = sum((bit == "1") << power for power, bit in enumerate(reversed(bits)))
    classes = product(*((f"not {name}", name) for name in names))
    return values, tuple(", ".join(words) for words in classes)


def look_up(place: str, values: Mapping[str, int], names: Sequence[str]) -> NDArray[np.int64]:
    """The labels of photographs.

    Args:
        place: of the list, for messages.
        values: of `read_attributes`.
        names: of the photographs.

    Returns:
        (names,)

    Raises:
        ValueError: a photograph without a line.
    """
    unlabeled = [name for name in names if name not in values]
    if unlabeled:
        raise ValueError(
            f"{place}: must have a line for each photograph, {len(unlabeled)} lack one, first {unlabeled[0]}; "
            "download it again as data/README.md says"
        )
    return np.array([values[name] for name in names], dtype=np.int64)


def _known(place: str, name: str, known: Sequence[str], wanted: str) -> str:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
        of = f" in {wanted}" if name != wanted else ""
        raise ValueError(
            f"params.yaml: data.labels must be none or an attribute of {place.rpartition('/')[2]} such as "
            f"{', '.join(near)}, or several joined by +, got {name}{of}"
        )
    return name
