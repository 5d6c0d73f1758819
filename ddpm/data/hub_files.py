"""Which files of a Hugging Face download belong to the data set, and to which split."""

import json
import re
from collections import Counter, defaultdict
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ddpm.data.catalog import Item
from ddpm.data.files import Files

SUFFIXES = (".parquet", ".arrow")
SPLITS = {"train": "train", "validation": "valid", "valid": "valid", "val": "valid", "test": "test"}
"""What a file or folder is called -> what the split is called here."""
PART = re.compile(r"(?P<of>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})")
STATE = "state.json"
"""Beside the Arrow files of `save_to_disk`: which of the files there belong to the data set."""


def find_shards(files: Files) -> list[Item]:
    """The files of the data set.

    Raises:
        ValueError: none, both kinds, or one missing or twice.
    """
    found = files.items.take(files.numbers(lambda name: name.endswith(SUFFIXES)))
    for state in files.items.take(files.numbers(lambda name: PurePosixPath(name).name == STATE)):
        found = _keep_listed(files, state, found)
    kinds = {PurePosixPath(item.name).suffix for item in found}
    if len(kinds) != 1:
        got = "both: remove one kind" if kinds else "neither: get it as data/README.md says"
        raise ValueError(f"{files.path}: must hold .parquet or .arrow files, got {got}")
    parts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for item in found:
        if match := PART.match(item.name):
            parts[match["of"], match["count"]][int(match["number"])] += 1
    for (of, count), times in parts.items():
        if wrong := [number for number in range(int(count)) if times[number] != 1]:
            raise ValueError(
                f"{files.path}: each of the {int(count)} files {of}-*-of-{count} must be here once, number {wrong[0]} "
                f"is here {times[wrong[0]]} times; complete the download, or rename the files to use a part"
            )
    return found


def _keep_listed(files: Files, state: Item, found: list[Item]) -> list[Item]:
    """Without the files beside a `state.json` that it does not list: results that the library keeps there."""
    place, folder = f"{files.path}: {state.name}", PurePosixPath(state.name).parent
    try:
        content = json.loads(files.read(state))
        listed = {str(folder / entry["filename"]) for entry in content["_data_files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place}: must list its files as save_to_disk writes it ({error!r}); save it again") from None
    if chosen := [key for key, value in content.items() if key.startswith("_indices") and value]:
        raise ValueError(f"{place}: rows must not be chosen by indices, got {chosen[0]}; save flatten_indices() of it")
    if missing := listed - {item.name for item in found}:
        raise ValueError(f"{place}: all files that it lists must be here, {min(missing)} is missing; get it again")
    return [item for item in found if PurePosixPath(item.name).parent != folder or item.name in listed]


def without_wrapper(names: list[str]) -> list[str]:
    """Names without the folders around all files, which depend on how they are packed; a split's folder stays."""
    while len(tops := {name.partition("/")[0] for name in names}) == 1 and all("/" in name for name in names):
        if tops <= SPLITS.keys():
            break
        names = [name.partition("/")[2] for name in names]
    return names


def split_shards(names: list[str], number_of: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The rows of each split that is there, and of `all`.

    Args:
        names: of the files.
        number_of: (rows,), the number of the file of each row.

    Raises:
        ValueError: the files of a split lie in several places, as those of several configurations do.
    """
    marks = [_split(PurePosixPath(name)) for name in names]
    splits = {}
    for split in ("train", "valid", "test"):
        of_split = np.array([called == split for called, _ in marks])
        if not of_split.any():
            continue
        if len(where := sorted({folder for called, folder in marks if called == split})) > 1:
            raise ValueError(
                f"huggingface: the files of {split} must lie in one place, got {where[0]} and {where[1]}; "
                "give the files of one configuration"
            )
        splits[split] = np.flatnonzero(of_split[number_of])
    return splits | {"all": np.arange(len(number_of))}


def _split(path: PurePosixPath) -> tuple[str, str]:
    """The split of a file by the start of its name, or else by the innermost folder called like one; and where that is.

    Both are empty where nothing is called like a split.
    """
    if (start := re.split(r"[-.]", path.name)[0]) in SPLITS:
        return SPLITS[start], f"{path.parent}/{start}*"
    folder = next((folder for folder in path.parents if folder.name in SPLITS), None)
    return ("", "") if folder is None else (SPLITS[folder.name], f"{folder}/")
