"""Rows of several processes: threads stand for them here, which meet at a barrier as processes do."""

import os
import threading
import time
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ddpm.engine import rows as engine
from ddpm.engine.distributed import Team, alone
from ddpm.experiment.interruption import Interrupted

NUM_ROWS, BATCH = 11, 3  # four batches, the last one of two rows
EXPECTED = np.arange(NUM_ROWS * 2, dtype=np.int32).reshape(NUM_ROWS, 2)


def fill(folder, team, compute, tick=lambda count: None):
    return engine.fill_rows(
        folder / "rows.npy", folder / "marks.npy", EXPECTED.shape, np.int32, BATCH, compute, team, tick
    )


def together(folder, count, tick=lambda number: None):
    """Fill with `count` members, of which the first is the fastest; returns what each was asked for, by first rows."""
    barrier, asked, marks = threading.Barrier(count, timeout=20), [[] for _ in range(count)], [None] * count

    def work(rank):
        def one(first, last):
            asked[rank].append(first)
            time.sleep(0.05 * rank)
            return EXPECTED[first:last], first + 1

        team = SimpleNamespace(rank=rank, count=count, first=rank == 0, wait=barrier.wait)
        marks[rank] = fill(folder, team, one, tick).tolist()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks == [[1, 4, 7, 10]] * count
    return asked


def stop_after(batches):
    """A computation that ends the process when it is asked once more."""
    asked = []

    def compute(first, last):
        if len(asked) == batches:
            raise KeyboardInterrupt
        asked.append(first)
        return EXPECTED[first:last], first + 1

    return compute


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_every_batch_is_computed_once_by_somebody(count, tmp_path):
    asked = together(tmp_path, count)
    assert sorted(chain(*asked)) == [0, 3, 6, 9]
    assert max(map(len, asked)) - min(map(len, asked)) <= 1
    found = np.load(tmp_path / "rows.npy", allow_pickle=False)
    assert found.dtype == np.int32
    assert (found == EXPECTED).all()


@pytest.mark.parametrize("batches", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_processes_goes_on_where_one_was_stopped(batches, count, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, alone(torch.device("cpu")), stop_after(batches))
    asked = together(tmp_path, count)
    assert sorted(chain(*asked)) == [0, 3, 6, 9][batches:]
    assert (np.load(tmp_path / "rows.npy", allow_pickle=False) == EXPECTED).all()


@pytest.mark.parametrize("count", [1, 3])
def test_the_first_process_tells_what_all_have_finished(count, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, alone(torch.device("cpu")), stop_after(2))
    told, tellers = [], set()

    def tick(number):
        told.append(number)
        tellers.add(threading.current_thread())

    together(tmp_path, count, tick=tick)
    assert told[0] == 6
    assert sum(told) == NUM_ROWS
    assert len(tellers) == 1


def test_a_batch_is_marked_only_when_its_rows_are_stored(tmp_path, monkeypatch):
    real = engine._store

    def dies_before_the_second_mark(path, first, values):
        if path.name == "marks.npy" and first == 1:
            raise KeyboardInterrupt
        real(path, first, values)

    monkeypatch.setattr(engine, "_store", dies_before_the_second_mark)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, alone(torch.device("cpu")), stop_after(9))
    monkeypatch.undo()
    assert (np.load(tmp_path / "rows.npy", allow_pickle=False)[:6] == EXPECTED[:6]).all()
    assert together(tmp_path, 1) == [[3, 6, 9]]


def test_rows_that_were_not_wholly_reserved_are_reserved_again(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        fill(tmp_path, alone(torch.device("cpu")), stop_after(9))
    assert caught.value.filename == str(tmp_path / "rows.npy")
    assert not (tmp_path / "marks.npy").exists()
    monkeypatch.undo()
    assert together(tmp_path, 1) == [[0, 3, 6, 9]]


def test_the_disk_is_taken_before_the_first_row(tmp_path):
    def compute(first, last):
        assert (tmp_path / "rows.npy").stat().st_blocks * 512 >= NUM_ROWS * 8
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, alone(torch.device("cpu")), compute)


def test_several_machines_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    team = Team(0, 4, torch.device("cpu"))
    with pytest.raises(ValueError, match="devices: the processes must be on one machine, got 4 with 2 on this one"):
        fill(tmp_path, team, stop_after(9))


def test_workers_end_when_their_launcher_is_gone(tmp_path, monkeypatch):
    parents = iter([17, 17, 1, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    team = SimpleNamespace(rank=0, count=2, first=True, wait=lambda: None)
    with pytest.raises(Interrupted, match="the launcher is gone"):
        fill(tmp_path, team, stop_after(9))
    assert np.load(tmp_path / "marks.npy", allow_pickle=False).tolist() == [1, 0, 7, 0]  # the batches of the first


def test_a_single_process_outlives_its_shell(tmp_path, monkeypatch):
    parents = iter([17, *[1] * 9])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    assert fill(tmp_path, alone(torch.device("cpu")), stop_after(9)).tolist() == [1, 4, 7, 10]
