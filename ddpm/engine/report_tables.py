"""The tables of a report: metrics with their protocol, data, and the digests of every artifact."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.experiment.stages import STAGES
from ddpm.report.page import Table

METRIC_HEAD = ("metric", "value", "95 % interval", "real images score", "good for", "protocol", "weights")


def number(value: float) -> str:
    """A number as it is shown: four decimals, or four digits where it is small."""
    return f"{value:.4f}" if abs(value) >= 0.1 else f"{value:.4g}"


def metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each number; the floor stands beside the distance it belongs to."""
    floors = {name.partition("_floor@")[0]: record for name, record in metrics.items() if "_floor@" in name}
    rows = []
    for name, record in metrics.items():
        if "_floor@" in name:
            continue
        rows.append(
            (
                name,
                number(record["value"]),
                interval_text(record),
                floor_text(floors.get(name.partition("@")[0])),
                record["grade"],
                protocol_text(record),
                record["weights_sha256"] or "no network",
            )
        )
    return Table("Numbers with the way they were measured", METRIC_HEAD, rows)


def interval_text(record: Mapping[str, Any]) -> str:
    """`1.2 to 1.3`, or a dash."""
    interval = record.get("interval")
    return f"{number(interval['low'])} to {number(interval['high'])}" if interval else "-"


def floor_text(floor: Mapping[str, Any] | None) -> str:
    """What held-out images score, and what as many samples do."""
    if floor is None:
        return "-"
    count = floor["num_images"]
    return f"{number(floor['value'])} with {count:,}; {count:,} samples: {number(floor['samples_at_this_count'])}"


def protocol_text(record: Mapping[str, Any]) -> str:
    """Everything on which two numbers must agree to be compared."""
    protocol = record["protocol"]
    return (
        f"{protocol['name']}: {protocol['source']}, crop {protocol['crop']}, {protocol['resample']} to "
        f"{protocol['size']} px, {record['num_images']:,} samples ({protocol['sample_format']}) against "
        f"{record['num_reference']:,} images of {protocol['split']}, features {record['features']}"
    )


def data_tables(manifest: Mapping[str, Any]) -> list[Table]:
    """Counts, levels and digests of each split, classes, and duplicates.

    Args:
        manifest: results/prepare.json.
    """
    splits = manifest["splits"]
    what = [
        ("source", manifest["source"]),
        ("crop and kernel", f"{manifest['crop']}, {manifest['resample']}"),
        ("labels", manifest["labels"]),
        ("damaged and left out", str(sum(len(split["skipped"]) for split in splits.values()))),
        *((f"same {kind} more than once", _repeated(found)) for kind, found in manifest["duplicates"].items()),
        *((f"raw: {key}", str(value)) for key, value in manifest["raw"].items()),
    ]
    rows = [
        ("images", *(f"{split['images']:,}" for split in splits.values())),
        ("selected by", *(split["selection"] for split in splits.values())),
        ("mean of each channel, 0..255", *(_levels(split["mean"]) for split in splits.values())),
        ("standard deviation", *(_levels(split["std"]) for split in splits.values())),
        ("sha256 of the pixels", *(split["pixels_sha256"] for split in splits.values())),
    ]
    tables = [Table("The data", ("what", "is"), what), Table("The splits", ("", *splits), rows)]
    counts = [split["images_of_class"] for split in splits.values()]
    if any(counts):
        classes = list(dict.fromkeys(name for of_split in counts for name in of_split))
        rows = [(name, *(f"{of_split.get(name, 0):,}" for of_split in counts)) for name in classes]
        tables.append(Table("Images of each class", ("class", *splits), rows, numbers=True))
    return tables


def artifact_table(root: Path) -> Table:
    """Every output of every stage: sha256 where a result file says it, and the md5 by which DVC finds it."""
    known, locked = _sha256(root), _locked(root)
    rows = []
    for stage in STAGES.values():
        small = [path for path in (stage.numbers, stage.curve, stage.figures) if path]
        for path in (*stage.outputs, *small):
            place = path.as_posix()
            rows.append((place, stage.name, known.get(place, "-"), locked.get(place, "not in dvc.lock")))
    return Table("What each stage made", ("file", "stage", "sha256", "md5 in dvc.lock"), rows)


def _sha256(root: Path) -> dict[str, str]:
    """File -> digest, as the small result files have it."""
    results = {name: _json(root / f"results/{name}.json") for name in ("prepare", "reference", "sample")}
    splits = results["prepare"].get("splits", {})
    found = {f"data/prepared/{name}.npy": split["sha256"] for name, split in splits.items()}
    found |= {f"data/prepared/{name}_labels.npy": split["labels_sha256"] for name, split in splits.items()}
    found["data/reference/statistics.npz"] = results["reference"].get("sha256", "-")
    found["data/weights/ema.safetensors"] = results["sample"].get("weights_sha256", "-")
    found["data/samples/images.npy"] = results["sample"].get("images_sha256", "-")
    return found


def _locked(root: Path) -> dict[str, str]:
    """File -> md5, of the outputs in dvc.lock."""
    path = root / "dvc.lock"
    if not path.is_file():
        return {}
    stages = YAML(typ="safe", pure=True).load(path.read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}


def _repeated(found: Mapping[str, Any]) -> str:
    across = f", {found['held_out_in_train']} held out and trained on" if found["held_out_in_train"] else ""
    return f"{found['repeated']}{across}"


def _levels(values: Sequence[float] | None) -> str:
    return ", ".join(f"{value:.1f}" for value in values) if values else "-"


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
