"""The spread of a metric over sampling seeds: the same checkpoint, other noise."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddpm.engine.choose import Candidate, Protocol, measure
from ddpm.engine.distributed import Team
from ddpm.engine.rows import Tick


def measure_seeds(
    checkpoint: Path, protocol: Protocol, seeds: Sequence[int], work: Path, team: Team, tick: Tick
) -> list[Candidate]:
    """Draw and measure the images of each seed; finished ones of an earlier call are kept.

    Args:
        tick: told by the first process how many images were drawn.
    """
    found = []
    for seed in seeds:
        folder = work / f"seed-{seed}"
        if team.first:
            folder.mkdir(exist_ok=True)
        team.wait()
        drawn = protocol.sample.model_copy(update={"seed": seed})
        found.append(measure(checkpoint, replace(protocol, sample=drawn), folder, team, tick))
    return found


def spread(seeds: Sequence[int], found: Sequence[Candidate]) -> dict[str, Any]:
    """Mean, sample standard deviation (n - 1) and smallest value over the seeds, each value with its record.

    EDM reports the smallest of three seeds; it is lower than the mean by luck alone, so both stand here.
    """
    values = [candidate.record["value"] for candidate in found]
    return {
        "name": found[0].record["name"],
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values),
        "smallest": min(values),
        "weights_sha256": found[0].sha256,
        "seeds": {str(seed): candidate.record for seed, candidate in zip(seeds, found, strict=True)},
    }
