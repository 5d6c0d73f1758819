"""The tables of a report: metrics and how they were measured, the data, and all parameters."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm.report.page import Table

METRIC_HEAD = ("metric", "value", "better", "95 % interval", "real images score", "as many samples", "good for")
BETTER = {
    "fid": "lower",
    "frechet": "lower",
    "kid": "lower",
    "inception": "higher",
    "precision": "higher",
    "recall": "higher",
    "memorization": "near 0.5",
}
"""Beginning of a metric's name -> which values are good."""


def number(value: float) -> str:
    """A number as it is shown: four decimals, or four digits where it is small."""
    return f"{value:.4f}" if abs(value) >= 0.1 else f"{value:.4g}"


def metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each number; the floor stands beside the distance it belongs to."""
    floors = {name.partition("_floor@")[0]: record for name, record in metrics.items() if "_floor@" in name}
    rows = []
    for name, record in _measured(metrics).items():
        floor = floor_texts(floors.get(name.partition("@")[0]))
        better = next((text for start, text in BETTER.items() if name.startswith(start)), "-")
        rows.append((name, number(record["value"]), better, interval_text(record), *floor, record["grade"]))
    return Table("Numbers", METRIC_HEAD, rows)


def protocol_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """How numbers were measured; those that were measured alike share a column."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, record in _measured(metrics).items():
        groups.setdefault(tuple(_protocol_rows(record)), []).append(name)
    ways = [dict(rows) for rows in groups]
    keys = dict.fromkeys(key for way in ways for key in way)
    rows = [(key, *(way[key] for way in ways)) for key in keys]
    heads = [", ".join(names) if len(groups) > 1 else "all numbers" for names in groups.values()]
    return Table("How they were measured", ("", *heads), rows)


def interval_text(record: Mapping[str, Any]) -> str:
    """`1.2 to 1.3`, or a dash."""
    interval = record.get("interval")
    return f"{number(interval['low'])} to {number(interval['high'])}" if interval else "-"


def floor_texts(floor: Mapping[str, Any] | None) -> tuple[str, str]:
    """What held-out images score, with their count, and what as many samples do."""
    if floor is None:
        return "-", "-"
    return f"{number(floor['value'])} ({floor['num_images']:,} images)", number(floor["samples_at_this_count"])


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
        ("digest of the pixels", *(split["pixels_digest"] for split in splits.values())),
    ]
    tables = [Table("The data", ("what", "is"), what), Table("The splits", ("", *splits), rows)]
    counts = [split["images_of_class"] for split in splits.values()]
    if any(counts):
        classes = list(dict.fromkeys(name for of_split in counts for name in of_split))
        rows = [(name, *(f"{of_split.get(name, 0):,}" for of_split in counts)) for name in classes]
        tables.append(Table("Images of each class", ("class", *splits), rows, numbers=True))
    return tables


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is not there.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path.name} must hold JSON, got {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} must hold a JSON object, got {type(found).__name__}")
    return found


def _measured(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {name: record for name, record in metrics.items() if "_floor@" not in name}


def _protocol_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    protocol = record["protocol"]
    return [
        ("protocol", protocol["name"]),
        ("features", record["features"]),
        ("weights of the network, sha256", record["weights_sha256"] or "no network"),
        ("samples", f"{record['num_images']:,}, stored as {protocol['sample_format']}"),
        ("reference", f"{record['num_reference']:,} images of {protocol['source']}, split {protocol['split']}"),
        ("crop and kernel", f"{protocol['crop']}, {protocol['resample']}"),
        ("size", f"{protocol['size']} px"),
        ("samples as a set, sha256", record["samples_sha256"]),
        ("reference statistics, sha256", record["reference_sha256"]),
    ]


def _repeated(found: Mapping[str, Any]) -> str:
    across = f", {found['held_out_in_train']} held out and trained on" if found["held_out_in_train"] else ""
    return f"{found['repeated']}{across}"


def _levels(values: Sequence[float] | None) -> str:
    return ", ".join(f"{value:.1f}" for value in values) if values else "-"
