"""Inception features and the Frechet distance: ours, torch-fidelity's and pytorch-fid's, with the same random weights.

    python -m benchmarks.features --device cpu
    python -m benchmarks.features --device cuda --images 512

All live in one process and have their turns. What is computed is compared as well: features in units of their standard
deviation, distances with their closed form.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

from benchmarks.frechets import OURS, WAYS, Case, cases
from benchmarks.inceptions import (
    COUNTERPARTS,
    OURS_PYTORCH,
    OURS_TF1,
    Extract,
    difference,
    extractors,
    random_pictures,
    random_state,
)
from benchmarks.limits import Limit, limits_json, limits_table, once, seconds
from benchmarks.machine import RESULTS, Mode, report, table
from benchmarks.rounds import Runner, Timing, rounds
from benchmarks.verdict import KINDS
from ddpm.engine.device import pick_device
from ddpm.metrics.features import full_float32

DIM = 2048
FASTER = {OURS_TF1: 1.4, OURS_PYTORCH: 1.5}
"""How many times the images per second of its counterpart ours must reach."""
SAME = 1e-4
DISTANCE_SECONDS, DISTANCE_ERROR = 4.0, 1e-8
THEIRS, AS_WE_EVALUATE = Mode(None, keep_heap=False), Mode(deterministic=True, keep_heap=True)


@dataclass(frozen=True)
class Network:
    """One feature network.

    Attributes:
        timing: of one batch.
        difference: from its counterpart, see `benchmarks.inceptions.difference`; None for the others' own.
    """

    timing: Timing
    images: int
    difference: float | None

    def images_per_second(self, kind: str) -> float:
        """Of the best or the median round."""
        spent: float = getattr(self.timing, kind)
        return self.images / spent


@dataclass(frozen=True)
class Distance:
    """One way to the distance, on one case; `error` is how far it is from the closed form."""

    case: str
    way: str
    timing: Timing
    error: float


def networks(images: int, count: int, warm_up: int, device: torch.device) -> dict[str, Network]:
    """Time all networks on one batch, in turns, and compare their features in full float32."""
    pictures = random_pictures(images)
    with TemporaryDirectory() as folder:
        found = extractors(random_state(), Path(folder), device)
    modes = {name: AS_WE_EVALUATE if name in COUNTERPARTS else THEIRS for name in found}
    runners = {name: Runner(partial(extract, pictures), modes[name]) for name, extract in found.items()}
    times = rounds(runners, count, warm_up, device)
    apart = {name: _apart(found, name, other, images) for name, other in COUNTERPARTS.items()}
    return {name: Network(timing, images, apart.get(name)) for name, timing in times.items()}


def _apart(found: Mapping[str, Extract], name: str, other: str, images: int) -> float:
    pictures = random_pictures(images, seed=1)
    with full_float32():  # on a GPU theirs would else use TF32
        return difference(found[name](pictures), found[other](pictures))


def distances(dim: int, count: int, device: torch.device) -> list[Distance]:
    """Time all ways on all cases, in turns."""
    rows = []
    for case in cases(dim):
        values: dict[str, float] = {}

        def run(way: str, case: Case = case, values: dict[str, float] = values) -> None:
            values[way] = WAYS[way](case)

        times = rounds({way: Runner(partial(run, way), THEIRS) for way in WAYS}, count, 0, device)
        rows += [Distance(case.name, way, timing, abs(values[way] - case.exact)) for way, timing in times.items()]
    return rows


def limits(found: Mapping[str, Network], rows: list[Distance]) -> list[Limit]:
    """All bars."""
    bars = []
    for name, other in COUNTERPARTS.items():
        bars.append(Limit(f"images/s of {name}, over {other}", FASTER[name], faster(found, name)))
    for name, other in COUNTERPARTS.items():
        apart = found[name].difference
        measured = None if apart is None else once(apart)
        bars.append(Limit(f"features of {name}: difference from {other}", SAME, measured, below=True))
    for row in (row for row in rows if row.way == OURS):
        bars.append(Limit(f"seconds of our distance, {row.case}", DISTANCE_SECONDS, seconds(row.timing), below=True))
        bars.append(Limit(f"error of our distance, {row.case}", DISTANCE_ERROR, once(row.error), below=True))
    return bars


def faster(found: Mapping[str, Network], name: str) -> dict[str, float]:
    """How many times as many images per second as its counterpart: of the best rounds, and of the medians."""
    return found[COUNTERPARTS[name]].timing.over(found[name].timing)


@click.command()
@click.option("--device", default="auto", help="cpu, cuda or auto.")
@click.option("--images", type=click.IntRange(min=2), default=32, help="Images of one batch.")
@click.option("--rounds", "count", type=click.IntRange(min=1), default=5, help="How often each network has its turn.")
@click.option("--warm-up", type=click.IntRange(min=0), default=0, help="Rounds before them that do not count.")
@click.option("--distance-rounds", type=click.IntRange(min=0), default=1, help="The same for the distance; 0: none.")
@click.option("--dim", type=click.IntRange(min=4), default=DIM, help="Dimensions of the distance.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
def main(device: str, images: int, count: int, warm_up: int, distance_rounds: int, dim: int, out: Path) -> None:
    """Measure feature networks and Frechet distances of three projects, and write a table and JSON."""
    try:
        place = pick_device(device)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    found = networks(images, count, warm_up, place)
    rows = distances(dim, distance_rounds, place) if distance_rounds else []
    bars = limits(found, rows)
    body = f"""Features: {count} rounds, in each of which every network had its turn with {images} random pictures of
64x64; the same random weights in all. Ours is set as `ddpm evaluate` sets it, the others leave torch as it is; after
such a change one batch is not timed. "Difference" is the largest of any feature from those of the network that ours has
to agree with, in units of the features' standard deviation, both in full float32.

{_networks_table(found)}

## Frechet distance, {dim} dimensions

On commuting covariances, whose distance has a closed form. {distance_rounds} rounds; ours on one BLAS thread, as
`ddpm evaluate` computes it, the others on all.

{_distances_table(rows)}

## Bars

{limits_table(bars)}"""
    settings = {"device": place.type, "images": images, "rounds": count, "distance_rounds": distance_rounds, "dim": dim}
    measured = {
        "settings": settings,
        "networks": {name: _network_json(network) for name, network in found.items()},
        "faster": {name: faster(found, name) for name in COUNTERPARTS},
        "distances": [asdict(row) for row in rows],
        "bars": limits_json(bars),
    }
    report("features", f"Inception features and the Frechet distance, {place.type}", measured, body, out, place)


def _network_json(network: Network) -> dict[str, object]:
    return {**asdict(network), "images_per_second": {kind: network.images_per_second(kind) for kind in KINDS}}


def _networks_table(found: Mapping[str, Network]) -> str:
    lines = []
    for name, network in found.items():
        other = COUNTERPARTS.get(name)
        times = [f"{value:.2f}" for value in faster(found, name).values()] if other else ["", ""]
        apart = "" if network.difference is None else f"{network.difference:.1e}"
        lines.append([name, *(f"{network.images_per_second(kind):.2f}" for kind in KINDS), other or "", *times, apart])
    head = ["network", "images/s, best", "median", "counterpart", "ours is faster, best", "median", "difference"]
    return table(head, lines)


def _distances_table(rows: list[Distance]) -> str:
    lines = [
        [row.case, row.way, f"{row.timing.best:.2f}", f"{row.timing.median:.2f}", f"{row.error:.1e}"] for row in rows
    ]
    return table(["covariances", "way", "seconds, best", "median", "error"], lines)


if __name__ == "__main__":
    main()
