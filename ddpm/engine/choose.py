"""Which of several checkpoints draws the best images: the same images of each, measured by the same metric."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddpm.digest import file_sha256
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint
from ddpm.engine.distributed import Team
from ddpm.engine.evaluate import distance, require_comparable
from ddpm.engine.features import image_set, stored_features
from ddpm.engine.rows import Tick
from ddpm.engine.sample import Drawn, require_settings, sample_images
from ddpm.experiment.params import Params, SampleParams
from ddpm.experiment.workspace import write_json
from ddpm.metrics import record
from ddpm.metrics.features import Extractor, build_extractor
from ddpm.metrics.statistics import Statistics, load_statistics


@dataclass(frozen=True)
class Protocol:
    """How every checkpoint is measured.

    Attributes:
        sample: how many images are drawn, and how; with one seed, so that all start from the same noise.
        statistics: of the real images.
        reference_sha256: of their file.
        extractor: of the family of the statistics.
        name: of the published protocol, or `own`.
        batch: images per evaluation of the extractor.
    """

    sample: SampleParams
    statistics: Statistics
    reference_sha256: str
    extractor: Extractor
    name: str
    batch: int


def protocol_of(params: Params, reference: Path, network: tuple[Path | None, bool], device: torch.device) -> Protocol:
    """The protocol of the parameters and a file of statistics.

    Args:
        network: a weights file or None, and whether it may be downloaded.

    Raises:
        ValueError: no statistics there, or no weights for their features.
    """
    statistics, (weights, download) = load_statistics(reference), network
    name = statistics.identity["features"]
    extractor = build_extractor(name, weights=weights, download=download, device=device)
    chosen = params.evaluate
    return Protocol(params.sample, statistics, file_sha256(reference), extractor, chosen.protocol, chosen.batch)


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that was measured: its file name and digest, what it is, and the record of its distance."""

    file: str
    sha256: str
    average: str
    step: int
    record: dict[str, Any]


def find_candidates(folder: Path, protocol: Protocol, team: Team) -> list[Path]:
    """All checkpoints in a folder, by name, each found fit to be measured before the first one is.

    Raises:
        ValueError: there is none, or the first one that is damaged, of another size, or refuses the settings.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ValueError(
            f"{folder}: must hold at least one checkpoint (.safetensors), got none; `python -m ddpm train` writes "
            "averages/ beside its weights"
        )
    sides = protocol.statistics.sides
    for path in paths:
        checkpoint = load_checkpoint(path)
        require_settings(checkpoint, protocol.sample, team.device)
        height, width, _ = checkpoint.data.shape
        if (height, width) != sides:
            raise ValueError(
                f"{path}: images must be {sides[0]}x{sides[1]} like the reference, got {height}x{width}; "
                "name another --reference or --snapshots"
            )
    return paths


def measure(path: Path, protocol: Protocol, work: Path, team: Team, tick: Tick) -> Candidate:
    """Draw the images of one checkpoint and compare them with the reference.

    The result stays in `work` under the digest of the file, and the same bytes are measured once. Images are kept
    there only until then.

    Args:
        tick: called by the first process with the number of images drawn since the last call.
    """
    digest, checkpoint = file_sha256(path), load_checkpoint(path)
    finished, folder = work / f"{digest}.json", work / digest
    team.wait()  # all see the same: nobody writes before all have looked
    if finished.is_file():
        if team.first:
            tick(protocol.sample.num_images)
    else:
        if team.first:
            folder.mkdir(exist_ok=True)
        team.wait()
        found, _ = draw_and_compare(checkpoint, protocol, folder, team, tick)
        if team.first:
            write_json(finished, found)
        team.wait()
        if team.first:
            shutil.rmtree(folder)
    return Candidate(path.name, digest, checkpoint.average, checkpoint.step, json.loads(finished.read_text()))


def draw_and_compare(
    checkpoint: Checkpoint, protocol: Protocol, folder: Path, team: Team, tick: Tick
) -> tuple[dict[str, Any], Drawn]:
    """The record of the distance of images that are drawn into `folder`, and how they were drawn."""
    drawn = sample_images(checkpoint, protocol.sample, folder, team, tick)
    images = np.load(drawn.path, mmap_mode="r", allow_pickle=False)
    require_comparable(images.shape, None, protocol.statistics, protocol.extractor)
    some, silent = image_set(images), lambda num_images: None  # noqa: ARG005
    rows = stored_features(some, protocol.extractor, protocol.batch, folder, "drawn", team, silent)
    about = record.Protocol(protocol.name, "uint8 npy", some.sha256, protocol.reference_sha256)
    return distance(rows, protocol.statistics, protocol.extractor, about), drawn


def winner(candidates: Sequence[Candidate]) -> Candidate:
    """The smallest distance; of equal ones the fewest steps, then the first."""
    return min(candidates, key=lambda candidate: (candidate.record["value"], candidate.step))


def table(candidates: Sequence[Candidate]) -> str:
    """Lines for the terminal, the best first: average, step and metric, which stands in the head with its count."""
    ranked = sorted(candidates, key=lambda candidate: (candidate.record["value"], candidate.step))
    width = max(len("average"), *(len(candidate.average) for candidate in ranked))
    lines = [f"{'average':{width}}  {'step':>9}  {ranked[0].record['name']}"]
    lines += [f"{c.average:{width}}  {c.step:>9}  {c.record['value']:.4f}" for c in ranked]
    return "\n".join(lines)


def content(candidates: Sequence[Candidate], sample: SampleParams) -> dict[str, Any]:
    """What the JSON file beside the chosen weights holds: the choice, how images were drawn, and all that competed."""
    return {
        "chosen": winner(candidates).file,
        "sample": sample.model_dump(),
        "candidates": [asdict(candidate) for candidate in candidates],
    }
