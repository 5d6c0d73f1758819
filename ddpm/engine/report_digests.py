"""What bytes a run is known by: the digests of every output, and whether dvc.lock speaks of these parameters."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.engine.report_tables import read_json
from ddpm.experiment.provenance import flatten
from ddpm.experiment.stages import STAGES
from ddpm.report.page import Table

READ_BYTES = 2**26
"""Larger files are not read for the page: their sha256 is the one that a result file holds."""


def read_lock(root: Path) -> dict[str, Any]:
    """Stage -> its entry in dvc.lock; empty without one.

    Raises:
        ValueError: the file is not one of DVC.
    """
    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    tree = YAML(typ="safe", pure=True).load(path.read_text())
    if not isinstance(tree, dict) or not isinstance(tree.get("stages"), dict):
        raise ValueError("dvc.lock must hold stages, got none; `dvc repro` writes it again")
    stages: dict[str, Any] = tree["stages"]
    return stages


def other_parameters(lock: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Parameters that dvc.lock recorded otherwise, such as `train.steps was 600, is 700`.

    The last stage is left out: while it writes the page its own entry is that of the time before.
    """
    mine, found = flatten(params), {}
    for name in STAGES:
        recorded = flatten((lock.get(name) or {}).get("params", {}).get("params.yaml", {})) if name != "figures" else {}
        for key, value in recorded.items():
            if value != mine.get(key):
                found[key] = f"{key} was {value}, is {mine.get(key, 'not there')}"
    return list(found.values())


def artifact_table(root: Path, lock: Mapping[str, Any]) -> Table:
    """Every file that a stage made: its sha256, and the md5 by which DVC finds it."""
    known = _recorded(root)
    locked = {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}
    rows = []
    for stage in STAGES.values():
        small = [path for path in (stage.numbers, stage.curve, stage.figures) if path]
        for path in (place for output in (*stage.outputs, *small) for place in _files(root, output)):
            name = path.as_posix()
            sha256, md5 = _digests(root / path)
            folder = next((locked[part.as_posix()] for part in path.parents if part.as_posix() in locked), "")
            kept = locked.get(name) or (f"in the folder {folder}" if folder else "not in dvc.lock")
            if md5 and name in locked and md5 != kept:
                kept = "another file than in dvc.lock"
            rows.append((name, stage.name, sha256 or known.get(name, "-"), kept))
    return Table("What each stage made", ("file", "stage", "sha256", "md5 in dvc.lock"), rows)


def _files(root: Path, path: Path) -> Iterator[Path]:
    """The files of a folder, or the path itself, whether it is there or not."""
    if not (root / path).is_dir():
        yield path
        return
    yield from sorted(file.relative_to(root) for file in (root / path).rglob("*") if file.is_file())


def _digests(path: Path) -> tuple[str, str]:
    """sha256 and md5; empty for what is not there or is large."""
    if not path.is_file() or path.stat().st_size > READ_BYTES:
        return "", ""
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()


def _recorded(root: Path) -> dict[str, str]:
    """File -> sha256, as the small result files have it."""
    results = {name: read_json(root / f"results/{name}.json") for name in ("prepare", "reference", "sample")}
    splits = results["prepare"].get("splits", {})
    found = {f"data/prepared/{name}.npy": split["sha256"] for name, split in splits.items()}
    found |= {f"data/prepared/{name}_labels.npy": split["labels_sha256"] for name, split in splits.items()}
    identity = results["reference"].get("identity", {})
    found["data/reference/statistics.npz"] = results["reference"].get("sha256", "-")
    found["data/reference/statistics_features.npy"] = identity.get("features_sha256") or "-"
    found["data/weights/ema.safetensors"] = results["sample"].get("weights_sha256", "-")
    found["data/samples/images.npy"] = results["sample"].get("images_sha256", "-")
    return found
