"""Ancestral sampling with one network: `ddpm sample`, and the `DDPMPipeline` of diffusers with the same weights.

    python -m benchmarks.sampling --recipe cifar10 --device cpu --images 16 --steps 10
    python -m benchmarks.sampling --recipe cifar10 --device cuda --images 500 --steps 50

All live in one process and draw their batches in turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.limits import Limit, limits_json, limits_table, once
from benchmarks.loops import load_recipe
from benchmarks.machine import RESULTS, report, show, table
from benchmarks.pipelines import DIFFUSERS, OURS, Way, build, difference, random_checkpoint, ways
from benchmarks.rounds import Runner, Timing, rounds
from benchmarks.verdict import KINDS
from ddpm.engine.device import pick_device
from ddpm.experiment.params import Params

FASTER, SAME = 2.0, 1e-4
AS_IT_IS, IN_BF16 = Way(DIFFUSERS, "float32"), Way(DIFFUSERS, "bf16")


@dataclass(frozen=True)
class Row:
    """What was measured of one way.

    Attributes:
        images: of one batch.
        evaluations: how often its net sees each of them.
        timing: of one batch.
    """

    way: Way
    images: int
    evaluations: float
    timing: Timing

    def images_per_second(self, kind: str) -> float:
        """Of the best or the median round."""
        spent: float = getattr(self.timing, kind)
        return self.images / spent


def measure(params: Params, device: torch.device, count: int, warm_up: int) -> tuple[list[Row], float]:
    """All ways in turns, and how far the two nets are apart."""
    checkpoint, batch = random_checkpoint(params), params.sample.batch
    drawings = {way: build(way, params, checkpoint, device) for way in ways(params, device)}
    drawn = dict.fromkeys(drawings, 0)

    def run(way: Way) -> None:
        drawn[way] += len(drawings[way].draw())

    runners = {way.label: Runner(lambda way=way: run(way), way.mode(device)) for way in drawings}  # type: ignore[misc]
    times = rounds(runners, count, warm_up, device)
    rows = [Row(way, batch, each.evaluations() / drawn[way], times[way.label]) for way, each in drawings.items()]
    return rows, difference(params, checkpoint)


def faster(rows: Sequence[Row], other: Way) -> dict[str, float] | None:
    """How many times as many images per second our first row draws as another, if there is that other."""
    ours = next(row for row in rows if row.way.who == OURS)
    theirs = next((row for row in rows if row.way == other), None)
    return theirs.timing.over(ours.timing) if theirs else None


def limits(rows: Sequence[Row], apart: float, gpu: bool) -> list[Limit]:
    """All bars of a device; the other device's are not measured here."""
    return [
        Limit("CPU: images/s, over diffusers as it is (float32)", FASTER, None if gpu else faster(rows, AS_IT_IS)),
        Limit("GPU: images/s, over diffusers in bf16", FASTER, faster(rows, IN_BF16) if gpu else None),
        Limit("difference of the two nets, standard deviations", SAME, once(apart), below=True),
    ]


@click.command()
@click.option("--recipe", default="cifar10", help="Name of a recipe: its net and its settings of `sample`.")
@click.option("-S", "overrides", multiple=True, help="Another parameter, section.key=value.")
@click.option("--device", default="auto", help="cpu, cuda or auto.")
@click.option("--images", type=click.IntRange(min=1), default=16, help="Images of one batch.")
@click.option("--steps", type=click.IntRange(min=1), default=10, help="Reverse steps.")
@click.option("--rounds", "count", type=click.IntRange(min=1), default=3, help="How often each has its turn.")
@click.option("--warm-up", type=click.IntRange(min=0), help="Rounds that do not count; 0 on a CPU, 1 on a GPU.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
def main(
    recipe: str, overrides: tuple[str, ...], device: str, images: int, steps: int, count: int, warm_up: int | None,
    out: Path,
) -> None:  # fmt: skip
    """Measure DDPM sampling of two projects with one net, and write a table and JSON."""
    try:
        place = pick_device(device)
        gpu = place.type == "cuda"
        changes = ["sample.sampler=ddpm", f"sample.steps={steps}", f"sample.batch={images}"]
        changes += ["figures.strip_columns=2", *([] if gpu else ["sample.compile=false"])]  # a strip fits the steps
        params = load_recipe(recipe, 0, [*changes, *overrides], place)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    rows, apart = measure(params, place, count, int(gpu) if warm_up is None else warm_up)
    settings: dict[str, Any] = {"recipe": recipe, "overrides": list(overrides), "device": place.type}
    settings |= {"images": params.sample.batch, "steps": params.sample.steps, "rounds": count}
    write(rows, limits(rows, apart, gpu), settings, params, out, place)


def write(
    rows: Sequence[Row], bars: Sequence[Limit], settings: Mapping[str, Any], params: Params, out: Path,
    device: torch.device,
) -> None:  # fmt: skip
    """The page and the JSON."""
    ours = next(row for row in rows if row.way.who == OURS)
    steps, all_steps = params.sample.steps, f"{params.schedule.T:,}"
    body = f"""{settings["rounds"]} rounds, in each of which every sampler drew one batch; random weights,
the same in both. Ours goes the way of `ddpm sample`, diffusers is `DDPMPipeline(unet, DDPMScheduler())` as it is;
in bf16 it is `pipeline.to(torch.bfloat16)` with `output_type="pt"`, since it fails to make PIL images of bf16. After a
change of the process's settings one batch is not timed.

Every step costs the same: one evaluation of the net and one update. So the ratios of {steps} steps are those of all
{all_steps}, and images/s of {all_steps} steps are those below times {steps} / {all_steps}.

{rows_table(rows)}

"Faster" is {ours.way.label} against the row.

## Bars

{limits_table(bars)}"""
    measured = {"settings": dict(settings), "rows": [row_json(row, rows) for row in rows], "bars": limits_json(bars)}
    title = f"DDPM sampling: {settings['recipe']}, {params.sample.batch} images, {params.sample.steps} steps"
    report(f"sampling-{settings['recipe']}", f"{title}, {device.type}", measured, body, out, device)


def rows_table(rows: Sequence[Row]) -> str:
    """One line a way."""
    lines = []
    for row in rows:
        rates = [row.images_per_second(kind) for kind in KINDS]
        times = faster(rows, row.way) or {}
        lines.append([
            row.way.label,
            *(f"{rate:.3g}" for rate in rates),
            f"{row.evaluations:g}",
            *(f"{rate * row.evaluations:.1f}" for rate in rates),
            *(show(times.get(kind)) for kind in KINDS),
        ])  # fmt: skip
    head = ["sampler", "images/s, best", "median", "net evaluations per image", "evaluations/s, best", "median"]
    return table([*head, "faster, best", "median"], lines)


def row_json(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """All numbers of one way."""
    rates = {kind: row.images_per_second(kind) for kind in KINDS}
    evaluations = {kind: rate * row.evaluations for kind, rate in rates.items()}
    more = {"label": row.way.label, "images_per_second": rates, "evaluations_per_second": evaluations}
    return {**asdict(row), **more, "ours_is_faster": faster(rows, row.way)}


if __name__ == "__main__":
    main()
