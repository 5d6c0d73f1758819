"""Our training step over batch sizes and image sizes.

    python -m benchmarks.scaling --recipe cifar10 --batches 4,8,16,32 --sizes 16,32,64 --batch 16 --device cpu

All sizes live in one process and step in turns. Memory is that of torch's tensors on a GPU; a CPU does not count it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch

from benchmarks.loops import load_recipe, made_up, our_loop
from benchmarks.machine import RESULTS, Mode, report, show, table
from benchmarks.peers import Loop
from benchmarks.rounds import Runner, Timing, rounds, synchronize
from benchmarks.verdict import BEST, KINDS, MEDIAN, TRAINING_FLOP
from ddpm.engine.device import pick_device
from ddpm.engine.speed import measure_peak
from ddpm.experiment.params import Params


@dataclass(frozen=True)
class Point:
    """One batch size at one image size.

    Attributes:
        image_size, image_width: height and width.
        macs: multiply-accumulates of one forward pass of one image.
        timing: of one step.
        memory_bytes: the peak of one step with all that stays between steps; None on a CPU.
    """

    batch: int
    image_size: int
    image_width: int
    macs: int
    timing: Timing
    memory_bytes: int | None

    def images_per_second(self, kind: str) -> float:
        """Of the best or the median round."""
        seconds: float = getattr(self.timing, kind)
        return self.batch / seconds

    def share(self, rate: float, kind: str) -> float:
        """The net's arithmetic over that of matrix products."""
        return TRAINING_FLOP * self.macs * self.images_per_second(kind) / rate


def prepare(params: Params, device: torch.device) -> tuple[Loop, int | None]:
    """A loop after its first steps, and the memory it takes."""
    gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if gpu else 0
    loop = our_loop(params, params.train.precision, made_up(params), device)
    loop.step()
    if not gpu:
        return loop, None
    loop.step()  # torch.compile looks twice
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    loop.step()
    synchronize(device)
    return loop, torch.cuda.max_memory_allocated(device) - before


def measure(all_params: Sequence[Params], device: torch.device, count: int, runs: int) -> tuple[list[Point], float]:
    """All sizes in turns; and the best rate of matrix products, measured among them."""
    loops, rates = [prepare(params, device) for params in all_params], []
    mode = Mode(all_params[0].train.deterministic, device.type == "cpu")
    runners = {str(number): Runner(loop.step, mode, runs) for number, (loop, _) in enumerate(loops)}
    products = Runner(lambda: rates.append(measure_peak(device, all_params[0].train.precision)), mode)
    found = rounds({**runners, "matrix": products}, count, 0, device)
    points = [
        Point(params.train.batch, *params.data.shape[:2], loop.macs, found[str(number)], memory)
        for number, (params, (loop, memory)) in enumerate(zip(all_params, loops, strict=True))
    ]
    return points, max(rates)


def points_table(points: Sequence[Point], rate: float) -> str:
    """One line a size."""
    head = ["batch", "pixels", "GFLOP per image", "images/s, best", "median", "share of matrix rate, best", "median"]
    lines = [
        [
            point.batch,
            f"{point.image_size}x{point.image_width}",
            f"{TRAINING_FLOP * point.macs / 1e9:.2f}",
            *(f"{point.images_per_second(kind):.2f}" for kind in KINDS),
            *(f"{point.share(rate, kind):.0%}" for kind in KINDS),
            show(point.memory_bytes, ".0f", 1e-6),
        ]
        for point in points
    ]
    return table([*head, "peak memory, MB"], lines)


def numbers(text: str | None, otherwise: str) -> list[int]:
    """Whole numbers with commas.

    Raises:
        ValueError: something else.
    """
    try:
        return [int(word) for word in (otherwise if text is None else text).split(",")]
    except ValueError:
        raise ValueError(f"--batches and --sizes must be whole numbers with commas, got {text}; as in 8,16") from None


@click.command()
@click.option("--recipe", default="cifar10", help="Name of a recipe.")
@click.option("--batches", help="Batch sizes, at the recipe's image size. [4,8,16,32; GPU: 32,64,128,256]")
@click.option("--sizes", help="Image sizes, square, at --batch. [16,32,64]")
@click.option("--batch", type=click.IntRange(min=1), help="Of the image sizes. [16; GPU: 128]")
@click.option("-S", "overrides", multiple=True, help="Another parameter, section.key=value.")
@click.option("--device", default="auto", help="cpu, cuda or auto.")
@click.option("--rounds", "count", type=click.IntRange(min=1), default=3, help="How often each size has its turn.")
@click.option("--runs", type=click.IntRange(min=1), help="Steps in one turn; 1 on a CPU, 10 on a GPU.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
def main(
    recipe: str, batches: str | None, sizes: str | None, batch: int | None, overrides: tuple[str, ...], device: str,
    count: int, runs: int | None, out: Path,
) -> None:  # fmt: skip
    """Measure our training step over batch sizes and image sizes, and write a table and JSON."""
    try:
        place = pick_device(device)
        gpu = place.type == "cuda"
        data, usual = load_recipe(recipe, 0, overrides, place).data, batch or (128 if gpu else 16)
        batch_sizes = numbers(batches, "32,64,128,256" if gpu else "4,8,16,32")
        wanted = [(each, data.image_size, data.image_width) for each in batch_sizes]
        wanted += [(usual, each, 0) for each in numbers(sizes, "16,32,64")]
        all_params = [
            load_recipe(recipe, each, [*overrides, f"data.image_size={size}", f"data.image_width={width}"], place)
            for each, size, width in dict.fromkeys(wanted)
        ]
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    points, rate = measure(all_params, place, count, runs or (10 if gpu else 1))
    precision = all_params[0].train.precision
    body = f"""{count} rounds, in each of which every size had its turn. The best rate of matrix products in
{precision} was {rate / 1e9:.0f} GFLOP/s.

{points_table(points, rate)}"""
    settings = {"recipe": recipe, "precision": precision, "overrides": list(overrides), "rounds": count}
    rows = [
        {**asdict(point), **{f"{kind}_images_per_second": point.images_per_second(kind) for kind in (BEST, MEDIAN)}}
        for point in points
    ]
    measured = {"settings": {**settings, "device": place.type}, "matrix_flop_per_second": rate, "rows": rows}
    report(f"scaling-{recipe}", f"Batch and image size: {recipe}, {place.type}", measured, body, out, place)


if __name__ == "__main__":
    main()
