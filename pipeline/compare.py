"""Several experiments on one page: what differs in their parameters and numbers, their curves, and their samples."""

import csv
import io
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.drawing.curves import loss_curves
from ddpm.engine.report_tables import interval_text, number, protocol_text
from ddpm.experiment.provenance import flatten
from ddpm.report.page import Page, Picture, Section, Table

WORKSPACE = "workspace"
METRICS, CURVE, SAMPLES = "results/metrics.json", "results/train.csv", "results/figures/samples.png"
MOST = 6


@dataclass(frozen=True)
class Side:
    """One experiment.

    Attributes:
        name: as it was asked for.
        params: flattened.
        metrics: results/metrics.json, empty where nothing was measured.
        curve: rows of results/train.csv, or none.
        samples: the PNG of the sample grid, or nothing.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    curve: Sequence[dict[str, str | float | None]]
    samples: bytes


def read(name: str, root: Path) -> Side:
    """An experiment from git, or the workspace from its files.

    Args:
        name: a DVC experiment, a git revision, or `workspace`.
        root: the project.

    Raises:
        ValueError: there is no such experiment, or it holds no params.yaml.
    """
    revision = None if name == WORKSPACE else revision_of(name, root)
    params = content("params.yaml", revision, root)
    if not params:
        raise ValueError(f"{name}: must hold params.yaml, but does not; name an experiment of this project")
    metrics, curve = content(METRICS, revision, root), content(CURVE, revision, root)
    return Side(
        name=name,
        params=flatten(YAML(typ="safe", pure=True).load(params.decode())),
        metrics=json.loads(metrics) if metrics else {},
        curve=[dict(row) for row in csv.DictReader(io.StringIO(curve.decode()))],
        samples=content(SAMPLES, revision, root),
    )


def revision_of(name: str, root: Path) -> str:
    """The commit of an experiment of DVC, whose refs end in its name, or of a revision of git.

    Raises:
        ValueError: none of both, with a list of the experiments.
    """
    # refs/exps/<commit, its first two letters apart>/<name>; stash, queue and current run lie beside them, less deep
    refs = _git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/??/*/*").decode().splitlines()
    found = {ref.rsplit("/", 1)[-1]: commit for ref, _, commit in (line.partition(" ") for line in refs)}
    if name in found:
        return found[name]
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    if not commit:
        known = ", ".join(sorted(found)) or "none yet: dvc exp run -n NAME"
        raise ValueError(f"{name}: must be an experiment, a git revision or {WORKSPACE}; experiments: {known}")
    return commit


def content(path: str, revision: str | None, root: Path) -> bytes:
    """A file of a revision, or of the workspace; empty where it is not there."""
    if revision is None:
        return (root / path).read_bytes() if (root / path).is_file() else b""
    return _git(root, "show", f"{revision}:./{path}")


def page(sides: Sequence[Side]) -> Page:
    """The page of two to six experiments; differences are to the first.

    Raises:
        ValueError: too few or too many.
    """
    if not 2 <= len(sides) <= MOST:
        raise ValueError(f"compare: 2 to {MOST} experiments fit beside each other, got {len(sides)}")
    names = [side.name for side in sides]
    return Page(
        title=" / ".join(names),
        lead=f"{len(sides)} experiments side by side. Differences are to {names[0]}.",
        facts=[(side.name, *_headline(side)) for side in sides],
        sections=[_parameters(sides), _numbers(sides), _curves(sides), _samples(sides)],
    )


def _headline(side: Side) -> tuple[str, str]:
    for name, record in side.metrics.items():
        if name.startswith(("fid", "frechet")) and "_floor" not in name:
            return number(record["value"]), name
    return "-", "nothing measured"


def _parameters(sides: Sequence[Side]) -> Section:
    keys = dict.fromkeys(key for side in sides for key in side.params)
    rows = [(key, *(str(side.params.get(key, "-")) for side in sides)) for key in keys]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    if not differing:
        return Section("parameters", "Parameters", ["All parameters are the same."])
    table = Table("Parameters that differ", ("parameter", *(side.name for side in sides)), differing)
    return Section("parameters", "Parameters", tables=[table])


def _numbers(sides: Sequence[Side]) -> Section:
    names = dict.fromkeys(name for side in sides for name in side.metrics)
    rows = [(name, *(_cell(sides[0], side, name) for side in sides)) for name in names]
    if not rows:
        return Section("metrics", "Metrics", ["Nothing was measured."])
    table = Table("Numbers, and their differences to the first", ("metric", *(side.name for side in sides)), rows)
    return Section("metrics", "Metrics", warnings=[*_protocol_warnings(sides, list(names))], tables=[table])


def _cell(first: Side, side: Side, name: str) -> str:
    record, base = side.metrics.get(name), first.metrics.get(name)
    if record is None:
        return "-"
    text = number(record["value"])
    if record.get("interval"):
        text += f" ({interval_text(record)})"
    if base is None or side is first:
        return text
    difference = record["value"] - base["value"]
    if not difference:
        return f"{text}; the same"
    share = f", {difference / abs(base['value']):+.1%}" if base["value"] else ""
    return f"{text}; {difference:+.4g}{share}{_overlap(record, base)}"


def _overlap(record: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    one, other = record.get("interval"), base.get("interval")
    if not (one and other):
        return ""
    apart = one["low"] > other["high"] or one["high"] < other["low"]
    return "; intervals do not overlap" if apart else "; intervals overlap"


def _protocol_warnings(sides: Sequence[Side], names: Sequence[str]) -> list[str]:
    """Numbers of one name that were measured in different ways."""
    found = []
    for name in names:
        ways = {protocol_text(side.metrics[name]) for side in sides if name in side.metrics}
        weights = {side.metrics[name]["weights_sha256"] for side in sides if name in side.metrics}
        if len(ways) > 1 or len(weights) > 1:
            found.append(f"{name} was not measured alike and does not compare: {' / '.join(sorted(ways))}.")
    return found


def _curves(sides: Sequence[Side]) -> Section:
    curves = {side.name: side.curve for side in sides if side.curve}
    if not curves:
        return Section("curves", "Training", ["There are no training curves."])
    buffer = io.BytesIO()
    image = loss_curves(curves)
    image.save(buffer, format="PNG")
    title = "Training losses over each other."
    caption = "Lines: loss of the training batches, smoothed. Points: loss of held-out images with averaged weights."
    return Section("curves", "Training", pictures=[Picture("losses", title, caption, buffer.getvalue(), image.size)])


def _samples(sides: Sequence[Side]) -> Section:
    from PIL import Image

    pictures = []
    for number_of, side in enumerate(sides):
        if side.samples:
            with Image.open(io.BytesIO(side.samples)) as image:
                size = (min(image.width, 680), round(image.height * min(1.0, 680 / image.width)))
            caption = f"The first samples of {side.name}, in the order of their numbers."
            pictures.append(Picture(f"samples-{number_of}", f"{side.name}.", caption, side.samples, size))
    alike = {(side.params.get("sample.seed"), side.params.get("data.image_size")) for side in sides}
    notes = ["Tiles at the same place started from the same noise."] if len(alike) == 1 else []
    warnings = [] if len(alike) == 1 else ["Seeds or sizes differ: tiles at the same place have nothing in common."]
    missing = [side.name for side in sides if not side.samples]
    if missing:
        notes = [*notes, f"No sample grid: {', '.join(missing)}."]
    return Section("samples", "Samples", notes, warnings, pictures=pictures)


def _git(root: Path, *arguments: str) -> bytes:
    """What git prints; nothing where it refuses."""
    finished = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return finished.stdout if finished.returncode == 0 else b""
