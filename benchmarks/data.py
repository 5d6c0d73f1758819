"""Preparing images and reading them back: ours, torchvision's CelebA in a DataLoader, and decoding alone.

    python -m benchmarks.data
    python -m benchmarks.data --photographs celeba_10000_89x109.zip --count 40000 --memory 10000 --memory 100000

All ways have their turns, round after round, on the same frames of 178x218 with the same number of processes.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

from benchmarks.limits import Limit, limits_json, limits_table
from benchmarks.machine import RESULTS, Mode, report, table
from benchmarks.memory import Peak, peak
from benchmarks.photos import frames, write_layout
from benchmarks.preparing import decoding, opened, ours, reading, torchvision
from benchmarks.rounds import Runner, Timing, rounds
from benchmarks.verdict import KINDS
from ddpm.data.files import FolderReader
from ddpm.data.store import open_split

AS_IT_IS = Mode(None, keep_heap=False)
FASTER, OF_DECODING, READING, FLAT = 1.5, 0.85, 50.0, 1.2
TURNS = 3
"""Of decoding alone in a round: its times swing by a third, those of everything else by a few percent."""
SIZES = (64, 128)
"""Of the images: 64 is resampled from the crop of 128x128, 128 is the crop itself."""
DECODING, FROM_FOLDER = "Pillow decodes, nothing else (zip)", "Pillow decodes, nothing else (folder)"
RESAMPLING = f"Pillow decodes, cuts and resamples to {SIZES[0]} px, nothing else (zip)"
Times = Mapping[str, Timing]


def preparing(raw: Path, workers: int, count: int, scratch: Path) -> dict[str, Timing]:
    """Time all ways to prepare; each writes into a folder of its own, and finds none of the others' at work.

    What torchvision wrote is removed before the next way has its turn: with it, not all files stay in the page cache.
    """
    runners = {}

    def add(name: str, run: Callable[[], object], out: Path | None = None, turns: int = 1) -> None:
        runners[name] = Runner(run, AS_IT_IS, turns=turns, before=partial(_clear, scratch / "theirs", out))

    for size in SIZES:
        out, theirs = scratch / f"array{size}", scratch / "theirs"
        add(_ours(size), partial(ours, raw, size, workers, "array", out), out)
        add(_theirs(size), partial(torchvision, raw, size, workers, theirs))
    out = scratch / f"encoded{SIZES[0]}"
    add(f"ddpm prepare, {SIZES[0]} px, encoded store", partial(ours, raw, SIZES[0], workers, "encoded", out), out)
    read, chunks = opened(raw)
    add(DECODING, partial(decoding, read, chunks, workers), turns=TURNS)
    add(RESAMPLING, partial(decoding, read, chunks, workers, resample=SIZES[0]))
    add(FROM_FOLDER, partial(decoding, FolderReader(raw), chunks, workers))
    return rounds(runners, count, 0, torch.device("cpu"))


def _clear(*folders: Path | None) -> None:
    """Remove folders, and wait for what the disk has to do."""
    for folder in folders:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    os.sync()


def epochs(batch: int, count: int, scratch: Path) -> dict[str, Timing]:
    """Time one epoch of shuffled batches from what `preparing` has left."""
    stores = {f"array, {size} px": f"array{size}" for size in SIZES} | {"encoded, 64 px": f"encoded{SIZES[0]}"}
    runners = {
        name: Runner(partial(reading, open_split(scratch / folder, "train").images, batch), AS_IT_IS)
        for name, folder in stores.items()
    }
    return rounds(runners, count, 1, torch.device("cpu"))


def limits(made: Times, read: Times, peaks: Sequence[Peak]) -> list[Limit]:
    """All bars."""
    bars = []
    for size in SIZES:
        bars.append(
            Limit(f"{size} px: images/s over torchvision's", FASTER, made[_theirs(size)].over(made[_ours(size)]))
        )
        bars.append(Limit(f"{size} px: share of decoding alone", OF_DECODING, made[DECODING].over(made[_ours(size)])))
    for name, timing in read.items():
        bars.append(Limit(f"reading an epoch ({name}) over decoding it", READING, made[DECODING].over(timing)))
    grown = dict.fromkeys(KINDS, peaks[-1].all_bytes / peaks[0].all_bytes) if len(peaks) > 1 else None
    text = f"peak memory, {peaks[-1].images:,} images over {peaks[0].images:,}" if grown else "peak memory"
    return [*bars, Limit(text, FLAT, grown, below=True)]


def _ours(size: int) -> str:
    return f"ddpm prepare, {size} px"


def _theirs(size: int) -> str:
    return f"torchvision CelebA + DataLoader, {size} px"


@click.command()
@click.option("--photographs", type=click.Path(path_type=Path), help="Zip of JPEG photographs.  [default: made up]")
@click.option("--count", type=click.IntRange(min=1), default=40_000, help="Frames.")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Processes of every way.")
@click.option("--rounds", "num_rounds", type=click.IntRange(min=1), default=3, help="How often each has its turn.")
@click.option("--batch", type=click.IntRange(min=1), default=128, help="Images of a batch that is read.")
@click.option("--memory", type=click.IntRange(min=1), multiple=True, help="Images to measure memory with; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
def main(
    photographs: Path | None,
    count: int,
    workers: int,
    num_rounds: int,
    batch: int,
    memory: tuple[int, ...],
    out: Path,
) -> None:
    """Measure preparing, reading and memory, and write a table and JSON."""
    files = frames(photographs)
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "celeba"
        write_layout(files, count, raw)
        made = preparing(raw, workers, num_rounds, Path(folder))
        read = epochs(batch, num_rounds, Path(folder))
    with TemporaryDirectory() as folder:
        peaks = [peak(each, workers, "array", Path(folder)) for each in memory]
    bars = limits(made, read, peaks)
    kind = "enlarged photographs" if photographs else "made-up pictures"
    mean_bytes = sum(map(len, files)) / len(files)
    body = f"""{count:,} JPEG frames of 178x218 ({kind}, {len(files):,} different ones, {mean_bytes:,.0f} bytes each),
crop `ddim-128`, {workers} processes each, {num_rounds} rounds in turns, {TURNS} turns of decoding alone from the zip in
each; files are in the page cache. Times are of everything: starting processes, digests of the archive, writing. Ours is
the whole command; torchvision starts in a process that has imported all it needs; decoding alone also knows its files
already.

{_table(made, count)}

## Reading an epoch in shuffled batches of {batch}

{_table(read, count)}

## Peak memory of all processes, a zip of 16x16 images to 32x32

{_peaks_table(peaks)}

## Bars

{limits_table(bars)}"""
    settings = {"count": count, "workers": workers, "rounds": num_rounds, "batch": batch, "frame_bytes": mean_bytes}
    measured = {
        "settings": settings,
        "preparing": {name: asdict(timing) for name, timing in made.items()},
        "reading": {name: asdict(timing) for name, timing in read.items()},
        "memory": [asdict(each) for each in peaks],
        "bars": limits_json(bars),
    }
    report("data", "Preparing images and reading them", measured, body, out, torch.device("cpu"))


def _table(times: Times, count: int) -> str:
    lines = [[name, *(f"{count / getattr(timing, kind):,.0f}" for kind in KINDS)] for name, timing in times.items()]
    return table(["way", "images/s, best", "median"], lines)


def _peaks_table(peaks: Sequence[Peak]) -> str:
    lines = [
        [f"{each.images:,}", f"{each.main_bytes / 1e6:.0f}", f"{each.all_bytes / 1e6:.0f}", f"{each.seconds:.1f}"]
        for each in peaks
    ]
    return table(["images", "first process, MB", "all, MB", "seconds"], lines or [[None] * 4])


if __name__ == "__main__":
    main()
