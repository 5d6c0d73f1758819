"""The first lines of a report: one sentence and a handful of numbers."""

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ddpm.engine.report_tables import number, read_json

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError)
"""What files raise that are damaged, or were written by another version."""


def sentence(params: Mapping[str, Any]) -> str:
    """What the experiment is, from its parameters."""
    data, model, sample = params["data"], params["model"], params["sample"]
    width = data["image_width"] or data["image_size"]
    channels = "gray" if data["channels"] == 1 else "RGB"
    return (
        f"A U-Net of {model['channels']} channels and {len(model['multipliers'])} levels "
        f"that predicts {params['objective']['target']}, on {channels} images of {data['image_size']}x{width}; "
        f"{sample['num_images']:,} samples by {sample['sampler']} in {sample['steps']} steps."
    )


def facts(params: Mapping[str, Any], root: Path) -> list[tuple[str, str, str]]:
    """What a reader wants first, as (name, value, remark): what of it is there and can be read."""
    found: list[tuple[str, str, str]] = []
    for make in (_distances, partial(_network, params), partial(_trained, params), _sampled):
        try:
            found += make(root)
        except UNREADABLE:
            continue  # the section of that file says so
    return found


def _distances(root: Path) -> Iterator[tuple[str, str, str]]:
    for name, record in read_json(root / "results/metrics.json").items():
        if name.startswith(("fid", "frechet")) and "_floor" not in name:
            interval = record.get("interval")
            remark = f"95 %: {number(interval['low'])} to {number(interval['high'])}" if interval else record["grade"]
            yield name, number(record["value"]), remark


def _network(params: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str, str]]:
    """The size of the net, from the header of its weights alone (8 bytes of length, then JSON)."""
    path = root / "data/weights/ema.safetensors"
    if path.is_file():
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        size = "x".join(map(str, params["model"]["multipliers"]))
        yield "parameters of the net", f"{sum(map(math.prod, shapes)):,}", f"{params['model']['channels']} x ({size})"


def _trained(params: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str, str]]:
    trained = read_json(root / "results/train.json")
    if trained:
        yield "training steps", f"{trained['step']:,}", f"batch {params['train']['batch']}"
        if (loss := trained.get("valid_loss")) is not None:
            yield "held-out loss", number(loss), "of the averaged weights"


def _sampled(root: Path) -> Iterator[tuple[str, str, str]]:
    sampled = read_json(root / "results/sample.json")
    if sampled:
        yield "network evaluations", f"{sampled['nfe']:g}", "per sample"
