"""What the parts of our training step cost, what both memory formats cost, and the group norm in both.

    python -m benchmarks.parts --recipe quick --recipe cifar10:16 --device cpu

Parts are timed around the calls that `ddpm.engine.train.train` makes itself, in a short run of a recipe, with rows of
the curve and states, without held-out losses and previews.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import click
import torch
from tqdm import tqdm

from benchmarks.layouts import Norm, layout_times, norm_times
from benchmarks.loops import load_recipe, made_up
from benchmarks.machine import RESULTS, report, show, table
from benchmarks.rounds import Timing, synchronize
from ddpm.cli.watch import Watch
from ddpm.data.store import Split
from ddpm.engine import step as step_module
from ddpm.engine import train as train_module
from ddpm.engine.averages import Averages
from ddpm.engine.batches import Batches
from ddpm.engine.device import pick_device
from ddpm.engine.distributed import alone
from ddpm.engine.state import Progress, StateWriter
from ddpm.engine.step import Training
from ddpm.experiment.interruption import Interruption
from ddpm.experiment.params import Params

WARM_UP = 2
"""Steps at the start of a run that do not count."""
LAST = 1
"""Nor does the last step, at which all is due that has a cadence."""
PLACES: Sequence[tuple[str, object, str]] = (
    ("data", Batches, "__call__"),
    ("forward", step_module, "image_losses"),
    ("backward", torch.Tensor, "backward"),
    ("optimizer", step_module, "optimize"),
    ("averages", Averages, "update"),
    ("logging", train_module, "row"),
    ("logging", Watch, "__call__"),
    ("checkpoint", Training, "state"),
    ("checkpoint", StateWriter, "save"),
    ("checkpoint, beside", StateWriter, "_write"),
)
"""Part -> the functions that do it; the last one runs in a thread of its own."""
BESIDE = "checkpoint, beside"
OVERHEAD = ("data", "averages", "logging", "checkpoint")


@dataclass
class Shares:
    """Seconds of the parts of a run.

    Attributes:
        steps: that were counted.
        seconds: of all of them.
        parts: part -> seconds; what `seconds` holds besides them is in none of the calls.
        calls: part -> how many calls that were.
    """

    steps: int = 0
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys((part for part, *_ in PLACES), 0.0))
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys((part for part, *_ in PLACES), 0))
    counting: bool = False

    def share(self, *names: str) -> float:
        """Their part of the whole."""
        return sum(self.parts[name] for name in names) / self.seconds


@contextmanager
def timers(shares: Shares, device: torch.device) -> Iterator[None]:
    """Put a clock around each of the functions in `PLACES`; calls within calls count once, for the outer one."""
    busy = threading.local()

    def clocked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not shares.counting or getattr(busy, "here", False):
                return function(*args, **kwargs)
            busy.here = True
            synchronize(device)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                synchronize(device)
                shares.parts[part] += time.perf_counter() - started
                shares.calls[part] += 1
                busy.here = False

        return call

    with ExitStack() as stack:
        for part, owner, name in PLACES:
            stack.enter_context(patch.object(owner, name, clocked(part, getattr(owner, name))))
        yield


def run_parts(
    params: Params, device: torch.device, steps: int, log_every: int, checkpoint_every: int, clocks: bool = True
) -> Shares:
    """Train for some steps, and say where the time went; without `clocks` only how much it was."""
    changes: Mapping[str, Any] = {
        "steps": WARM_UP + steps + LAST, "images": 0, "epochs": 0, "log_every": log_every, "valid_every": 0,
        "preview_every": 0, "snapshot_every": 0, "checkpoint_every": checkpoint_every, "checkpoint_minutes": 0.0,
        "choose": "last",
    }  # fmt: skip
    params = params.model_copy(update={"train": params.train.model_copy(update=changes)})
    shares, team, split = Shares(), alone(device), made_up(params)
    nothing = Split(split.images[:0], split.labels[:0])
    with ExitStack() as stack:
        folder, silent = stack.enter_context(TemporaryDirectory()), stack.enter_context(Path(os.devnull).open("w"))
        if clocks:
            stack.enter_context(timers(shares, device))
        watch = Watch(params, tqdm(file=silent), None, Path(folder) / "previews.png", team)
        started = 0.0

        def told(progress: Progress) -> None:
            nonlocal started
            watch(progress)
            if progress.step == WARM_UP:
                synchronize(device)
                started, shares.counting = time.perf_counter(), True
            if progress.step == WARM_UP + steps:
                synchronize(device)
                shares.seconds, shares.steps, shares.counting = time.perf_counter() - started, steps, False

        train_module.train(params, split, nothing, Path(folder), team, told, Interruption(None, None))
    return shares


def core_seconds(params: Params, device: torch.device, steps: int) -> float:
    """Seconds of one step of the net and the optimizer alone, on one batch, without averages."""
    training = step_module.build_training(params, made_up(params), alone(device))
    batch = training.batches(1)
    with patch.object(Batches, "__call__", lambda *_: batch), patch.object(Averages, "update", lambda *_: None):
        for step in range(1, 1 + WARM_UP):
            training.step(step)
        synchronize(device)
        started = time.perf_counter()
        for step in range(1 + WARM_UP, 1 + WARM_UP + steps):
            training.step(step)
        synchronize(device)
    return (time.perf_counter() - started) / steps


def parts_table(shares: Shares) -> str:
    """One line a part."""
    lines: list[list[object]] = []
    for part, seconds in shares.parts.items():
        calls = shares.calls[part]
        each = seconds / calls if calls else None
        lines.append([part, calls, show(each, ".2f", 1e3), f"{shares.share(part):.2%}"])
    rest = 1 - shares.share(*(part for part in shares.parts if part != BESIDE))
    lines.append(["in none of them", "", "", f"{rest:.2%}"])
    return table(["part", "calls", "ms per call", "share of the run"], lines)


def norms_table(norms: Sequence[Norm]) -> str:
    """One line a shape, precision and memory format."""
    head = ["(batch, channels, height, width)", "precision", "layout", "ours, ms, best", "median"]
    head += ["torch, ms, best", "median"]
    lines = []
    for norm in norms:
        times = [f"{1e3 * seconds:.2f}" for each in (norm.ours, norm.native) for seconds in (each.best, each.median)]
        lines.append([str(norm.shape), norm.precision, norm.layout, *times])
    return table(head, lines)


def layouts_table(layouts: Mapping[str, Mapping[str, Timing]]) -> str:
    """One line a recipe and memory format."""
    lines = [
        [name, layout, f"{timing.best:.3f}", f"{timing.median:.3f}"]
        for name, times in layouts.items()
        for layout, timing in times.items()
    ]
    return table(["net of", "layout", "seconds per step, best", "median"], lines)


def bars_table(shares: Mapping[str, Shares], overheads: Mapping[str, float | None]) -> str:
    """What the loop around the net may cost."""
    lines: list[list[object]] = []
    if "quick" in shares:
        share = shares["quick"].share(*OVERHEAD)
        text = "`quick`: data, averages, logging and checkpoint together, in the way of training"
        lines.append([text, "5%", f"{share:.2%}", "yes" if share < 0.05 else "no"])
        lines.append(["the same, and the writing beside it", "", f"{shares['quick'].share(*OVERHEAD, BESIDE):.2%}", ""])
    for name, overhead in overheads.items():
        met = None if overhead is None else "yes" if overhead < 0.03 else "no"
        lines.append([f"`{name}` on a GPU: all but the net and the optimizer", "3%", show(overhead, ".2%"), met])
    return table(["less than", "wanted", "measured", "met"], lines)


@click.command()
@click.option("--recipe", "recipes", multiple=True, help="NAME or NAME:BATCH; several times. [quick, cifar10:16]")
@click.option("-S", "overrides", multiple=True, help="Another parameter of all of them, section.key=value.")
@click.option("--device", default="auto", help="cpu, cuda or auto.")
@click.option("--steps", type=click.IntRange(min=1), default=100, help="Steps of the run of quick.")
@click.option("--few-steps", type=click.IntRange(min=1), help="Of the other recipes; 10 on a CPU, 200 on a GPU.")
@click.option("--rounds", "number", type=click.IntRange(min=1), default=7, help="Of layouts and norms.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
def main(
    recipes: tuple[str, ...], overrides: tuple[str, ...], device: str, steps: int, few_steps: int | None, number: int,
    out: Path,
) -> None:  # fmt: skip
    """Time the parts of a training step, and write tables and JSON."""
    try:
        place = pick_device(device)
        all_params = {}
        for recipe in recipes or ("quick", "cifar10:16"):
            name, _, batch = recipe.partition(":")
            all_params[name] = load_recipe(name, int(batch or 0), overrides, place)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    gpu = place.type == "cuda"
    counts = {name: steps if name == "quick" else few_steps or (200 if gpu else 10) for name in all_params}
    cadences = {name: (max(count // 10, 1), max(count // 2, 1)) for name, count in counts.items()}
    layouts = {name: layout_times(params, place, number) for name, params in all_params.items()}
    shares = {name: run_parts(params, place, counts[name], *cadences[name]) for name, params in all_params.items()}
    whole = {
        name: overhead(params, place, counts[name], cadences[name]) if gpu else None
        for name, params in all_params.items()
    }
    write(shares, cadences, layouts, norm_times(place, number), whole, out, place)


def overhead(params: Params, device: torch.device, steps: int, cadence: tuple[int, int]) -> float:
    """The share of a run, without clocks, that is neither the net nor the optimizer."""
    spent = run_parts(params, device, steps, *cadence, clocks=False)
    return 1 - core_seconds(params, device, steps) / (spent.seconds / steps)


def write(
    shares: Mapping[str, Shares], cadences: Mapping[str, tuple[int, int]], layouts: Mapping[str, Mapping[str, Timing]],
    norms: Sequence[Norm], overheads: Mapping[str, float | None], out: Path, device: torch.device,
) -> None:  # fmt: skip
    """The page and the JSON."""
    sections = []
    for name, found in shares.items():
        log_every, checkpoint_every = cadences[name]
        sections.append(f"""## `{name}`: {found.seconds / found.steps:.3f} s per step

{found.steps} steps, a row of the curve every {log_every}, a state every {checkpoint_every}.
"{BESIDE}" runs in a thread.

{parts_table(found)}""")
    body = "\n\n".join([
        *sections,
        f"## Memory formats\n\nWhole steps, in turns.\n\n{layouts_table(layouts)}",
        "## Group norm\n\nForward and backward; ours is `ddpm/nets/norm.py`, and torch's own where that is as fast.\n\n"
        + norms_table(norms),
        f"## Bars\n\n{bars_table(shares, overheads)}",
    ])  # fmt: skip
    measured = {
        "parts": {
            name: {"steps": each.steps, "seconds": each.seconds, "parts": each.parts, "calls": each.calls}
            for name, each in shares.items()
        },
        "layouts": {name: {layout: asdict(t) for layout, t in times.items()} for name, times in layouts.items()},
        "norms": [asdict(norm) for norm in norms],
        "overhead": dict(overheads),
        "bars": {"quick": shares["quick"].share(*OVERHEAD) if "quick" in shares else None},
    }
    report("parts", f"Parts of a training step, {device.type}", measured, body, out, device)


if __name__ == "__main__":
    main()
