"""The small result files as numbers: JSON trees flattened, curves as rows."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ddpm.experiment.stages import Stage


def numeric_leaves(tree: Any, prefix: str = "") -> dict[str, float]:
    """The numbers of a nested result by dotted path; lists count from 0. Texts and truth values are no numbers.

    {"fid": {"value": 3.2, "kind": "pixels"}, "counts": [4, 5]} -> {"fid.value": 3.2, "counts.0": 4.0, "counts.1": 5.0}
    """
    if isinstance(tree, Mapping):
        items: Iterable[tuple[Any, Any]] = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    else:
        is_number = isinstance(tree, int | float) and not isinstance(tree, bool)
        return {prefix: float(tree)} if is_number else {}
    leaves: dict[str, float] = {}
    for key, value in items:
        leaves |= numeric_leaves(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def read_numbers(stage: Stage, folder: Path) -> dict[str, Any]:
    """The numbers file of a stage below `folder`; empty when the stage has none."""
    if stage.numbers is None:
        return {}
    tree = json.loads((folder / stage.numbers).read_text())
    return tree if isinstance(tree, dict) else {"value": tree}


def read_curve(stage: Stage, folder: Path) -> list[dict[str, float]]:
    """The curve file of a stage below `folder`, one dict a row; empty cells are left out."""
    if stage.curve is None or not (folder / stage.curve).is_file():
        return []
    with (folder / stage.curve).open(newline="") as file:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]
