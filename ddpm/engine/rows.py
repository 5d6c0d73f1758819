"""Rows that processes share batch by batch: one array on disk, which survives kill -9 and any number of processes.

Beside the rows lies one mark per batch, int64, 0 while the batch is not finished. A mark is written when its rows are
on the disk, so each process loses at most the batch that it was at.
"""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ddpm.engine.distributed import Team
from ddpm.experiment.interruption import Interrupted
from ddpm.experiment.workspace import atomic_path

Tick: TypeAlias = Callable[[int], object]
"""Told how many more rows are finished, by all processes together."""
Compute: TypeAlias = Callable[[int, int], tuple[NDArray[Any], int]]
"""(first, last) -> rows first..last-1 and the mark of the batch, above 0."""


def fill_rows(
    path: Path,
    marks_path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    batch: int,
    compute: Compute,
    team: Team,
    tick: Tick,
    lead: int = 0,
) -> NDArray[np.int64]:
    """Compute all rows of the array at `path` in fixed batches; finished ones of an earlier call are kept.

    The unfinished batches are dealt out to the processes of the team. Which process computes a batch changes no row.

    Args:
        path: .npy, reserved by the first process.
        marks_path: .npy of the marks; where it exists, `path` is reserved.
        shape: of the whole array.
        batch: rows at once; only the first and the last batch may have fewer, see `spans`.
        tick: called by the first process only; at first with what an earlier call had finished.
        lead: rows that the first batch lacks, below batch: where the rows are the middle of something longer, so that
            the batches are those of the whole.

    Returns:
        The marks of all batches, in every process, when all rows are there.

    Raises:
        ValueError: the processes run on several machines.
        OSError: the disk is full.
        Interrupted: the launcher of the processes is gone.
    """
    _require_one_machine(team)
    parts = spans(shape[0], batch, lead)
    if team.first and not marks_path.is_file():
        _reserve(path, shape, dtype)
        with atomic_path(marks_path) as temporary, temporary.open("wb") as file:
            np.save(file, np.zeros(len(parts), np.int64), allow_pickle=False)
    team.wait()
    marks: NDArray[np.int64] = np.load(marks_path, mmap_mode="r", allow_pickle=False)  # sees what the others write
    mine = np.flatnonzero(marks == 0)[team.rank :: team.count]
    parent, told = os.getppid(), _tell(marks, parts, 0, team, tick)
    team.wait()  # all deal the same batches, before anybody marks one
    for number in mine.tolist():
        first, last = parts[number]
        rows, mark = compute(first, last)
        assert len(rows) == last - first
        assert mark > 0
        _store(path, first, rows)
        _store(marks_path, number, [mark])
        told = _tell(marks, parts, told, team, tick)
        if team.count > 1 and os.getppid() != parent:  # or it would go on unseen, and hold the lock
            raise Interrupted("the launcher is gone; the same command goes on after the last batch", signal.SIGTERM)
    team.wait()
    if told < shape[0]:
        _tell(marks, parts, told, team, tick)
    return np.array(marks)


def spans(num_rows: int, batch: int, lead: int = 0) -> list[tuple[int, int]]:
    """The rows of each batch, as (first, last + 1); the first batch has `lead` rows less than the others."""
    starts = range(-lead, num_rows, batch)
    return [(max(start, 0), min(start + batch, num_rows)) for start in starts]


def _tell(marks: NDArray[np.int64], parts: Sequence[tuple[int, int]], told: int, team: Team, tick: Tick) -> int:
    """Let the first process tell how many rows are finished beyond those told; returns how many that are in all."""
    finished = sum(parts[number][1] - parts[number][0] for number in np.flatnonzero(marks).tolist())
    if team.first:
        tick(finished - told)
    return finished


def _reserve(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """A new array on disk with all its blocks taken: a full disk is an OSError now, not a bus error in the middle."""
    open_memmap(path, "w+", dtype, shape)
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            error.filename = str(path)
            raise


def _store(path: Path, first: int, values: ArrayLike) -> None:
    """Put rows into an array on disk, and wait until they are there.

    The file is mapped for this moment only: pages that stay mapped would count as memory of the process.
    """
    part = np.asarray(values)
    array: np.memmap[Any, Any] = np.load(path, mmap_mode="r+", allow_pickle=False)
    array[first : first + len(part)] = part
    array.flush()


def _require_one_machine(team: Team) -> None:
    """Refuse several machines: a network file system may lose rows when two of them write to one page of a file."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", team.count))
    if local < team.count:
        raise ValueError(
            f"devices: the processes must be on one machine, got {team.count} with {local} on this one; "
            "only `train` runs on several machines"
        )
