"""One training step of ours, of diffusers' loop and of denoising-diffusion-pytorch's trainer, on nets of one size.

    python -m benchmarks.train --recipe cifar10 --batch 16 --device cpu
    python -m benchmarks.train --recipe celeba64 --device cuda

All loops live in one process and step in turns. Peak memory, and the page faults that show what the heap costs, come
from one more process per loop, in which nothing else ever ran.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import torch

from benchmarks.loops import Candidate, build, candidates, load_recipe, made_up, same_bytes
from benchmarks.machine import RESULTS, ROOT, report, show, table
from benchmarks.rounds import Runner, rounds, synchronize
from benchmarks.verdict import BEST, MEDIAN, Alone, Rates, Row, as_json, bars, bars_table, rows_table
from ddpm.data.store import Split
from ddpm.engine.device import pick_device, set_determinism
from ddpm.engine.speed import measure_peak, peak_memory_bytes
from ddpm.experiment.params import Params

PRECISIONS = ("bf16", "float32")
ALONE_STEPS = 3
"""Steps of a loop that is alone in its process; the first one is not timed."""


def measure(
    chosen: Sequence[Candidate], params: Params, device: torch.device, count: int, warm_up: int, runs: int
) -> tuple[list[Row], Rates]:
    """All loops in turns, and products of matrices among them."""
    rates: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    split, deterministic = made_up(params), params.train.deterministic
    with TemporaryDirectory() as folder:
        loops = {each: build(each, params, split, device, Path(folder)) for each in chosen}
        runners = {each.label: Runner(loop.step, each.mode(deterministic), runs) for each, loop in loops.items()}
        last = next(reversed(runners.values())).mode

        def products() -> None:
            for precision, found in rates.items():
                found.append(measure_peak(device, precision))

        set_determinism(deterministic)  # float32 of the products is float32, as in our loop
        found = rounds({**runners, "matrix": Runner(products, last)}, count, warm_up, device)
    images = params.train.batch
    rows = [Row(each, images, loop.parameters, loop.macs, found[each.label]) for each, loop in loops.items()]
    return rows, {name: {BEST: max(values), MEDIAN: median(values)} for name, values in rates.items()}


def alone(candidate: Candidate, params: Params, split: Split, device: torch.device) -> Alone:
    """Run one loop in this process, which has done nothing before."""
    before = peak_memory_bytes(device)
    with TemporaryDirectory() as folder:
        loop, seconds, faults = build(candidate, params, split, device, Path(folder)), [], []
        if candidate.keep_heap:  # without it glibc shall adapt as it does
            candidate.mode(params.train.deterministic).enter()
        for _ in range(ALONE_STEPS):
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
            started = time.perf_counter()
            loop.step()
            synchronize(device)
            seconds.append(time.perf_counter() - started)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    gpu = device.type == "cuda"
    return Alone(peak_memory_bytes(device) - (0 if gpu else before), faults[-1] - faults[-2], min(seconds[1:]))


def ask_alone(candidate: Candidate, arguments: Sequence[str]) -> Alone:
    """What another process finds out about one loop.

    Raises:
        subprocess.CalledProcessError: it failed; its words are on stderr.
    """
    command = [sys.executable, "-m", "benchmarks.train", *arguments, "--alone", candidate.label]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Alone(**json.loads(done.stdout.splitlines()[-1]))


@click.command()
@click.option("--recipe", default="cifar10", help="Name of a recipe.")
@click.option("--batch", type=click.IntRange(min=0), default=0, help="Images a step; 0: as the recipe says.")
@click.option("-S", "overrides", multiple=True, help="Another parameter, section.key=value.")
@click.option("--device", default="auto", help="cpu, cuda or auto.")
@click.option("--rounds", "count", type=click.IntRange(min=1), default=7, help="How often each loop has its turn.")
@click.option("--warm-up", type=click.IntRange(min=0), default=1, help="Rounds before them that do not count.")
@click.option("--runs", type=click.IntRange(min=1), help="Steps in one turn; 1 on a CPU, 10 on a GPU.")
@click.option("--only", multiple=True, help="Only loops with this in their name.")
@click.option("--memory/--no-memory", default=True, help="Also run each loop alone, for its memory.")
@click.option("--twice/--no-twice", default=True, help="Also train twice and compare the bytes.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
@click.option("--alone", "label", hidden=True)
def main(
    recipe: str, batch: int, overrides: tuple[str, ...], device: str, count: int, warm_up: int, runs: int | None,
    only: tuple[str, ...], memory: bool, twice: bool, out: Path, label: str | None,
) -> None:  # fmt: skip
    """Measure a training step of several projects on nets of one size, and write a table and JSON."""
    try:
        place = pick_device(device)
        params = load_recipe(recipe, batch, overrides, place)
        chosen = choose(candidates(params, place), only)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if label is not None:
        (candidate,) = (each for each in chosen if each.label == label)
        click.echo(json.dumps(asdict(alone(candidate, params, made_up(params), place))))
        return
    arguments = ["--recipe", recipe, "--batch", str(params.train.batch), "--device", device]
    arguments += [word for override in overrides for word in ("-S", override)]
    found = {each: ask_alone(each, arguments) for each in chosen} if memory else {}
    rows, rates = measure(chosen, params, place, count, warm_up, runs or (10 if place.type == "cuda" else 1))
    rows = [Row(**{**vars(row), "alone": found.get(row.candidate)}) for row in rows]
    same = same_bytes(params, made_up(params), place) if twice else None
    write(rows, rates, same, params, recipe, overrides, out, place)


def choose(known: Sequence[Candidate], only: Sequence[str]) -> list[Candidate]:
    """The loops with one of these words in their name; all, without words.

    Raises:
        ValueError: no loop has it.
    """
    chosen = [each for each in known if not only or any(word in each.label for word in only)]
    if not chosen:
        labels = "; ".join(each.label for each in known)
        raise ValueError(f"--only must name a part of a loop's name, got {', '.join(only)}; the loops are {labels}")
    return chosen


def write(
    rows: Sequence[Row], rates: Rates, same: bool | None, params: Params, recipe: str, overrides: Sequence[str],
    out: Path, device: torch.device,
) -> None:  # fmt: skip
    """The page and the JSON."""
    held = bars(rows, rates, device.type == "cuda", same)
    products = [[name, *(show(rate[kind], ".0f", 1e-9) for kind in (BEST, MEDIAN))] for name, rate in rates.items()]
    count = len(rows[0].timing.seconds)
    body = f"""{count} rounds, in each of which every loop had its turn of steps; best and median of them.
Peak memory is how far the peak of a process grows that runs only this loop (on a GPU, the peak of torch's tensors);
page faults and "alone" are of that process too. Loops of others without "heap kept" use glibc's heap as it is. A share
is the net's arithmetic over that of matrix products in the same precision.

{rows_table(rows, rates)}

{table(["matrix products", "GFLOP/s, best", "median"], products)}

## Bars

{bars_table(held)}"""
    settings = {"recipe": recipe, "batch": params.train.batch, "overrides": list(overrides), "rounds": count}
    measured = {"settings": {**settings, "device": device.type}, "same_bytes": same, **as_json(rows, rates, held)}
    title = f"Training step: {recipe}, batch {params.train.batch}, {device.type}"
    report(f"train-{recipe}", title, measured, body, out, device)


if __name__ == "__main__":
    main()
