"""Where and in which turns something is measured."""

import ctypes
import getpass
import json
import platform
import subprocess
import sys

import pytest
import torch

from benchmarks.machine import ROOT, Mode, describe, kind, report, show, slug, table
from benchmarks.rounds import Runner, Timing, rounds

CPU = torch.device("cpu")
KEPT, PLAIN = Mode(deterministic=True, keep_heap=True), Mode(deterministic=None, keep_heap=False)


def test_a_timing_has_a_best_and_a_middle_round():
    timing = Timing((3.0, 1.0, 8.0))
    assert (timing.best, timing.median) == (1.0, 3.0)
    assert Timing((6.0, 4.0, 9.0)).over(timing) == {"best": 4.0, "median": 2.0}


def test_turns_are_taken_round_after_round_and_a_change_of_mode_is_not_timed():
    log: list[str] = []
    runners = {"a": Runner(lambda: log.append("a"), KEPT, runs=2), "b": Runner(lambda: log.append("b"), PLAIN)}
    found = rounds(runners, count=3, warm_up=1, device=CPU)
    assert "".join(log) == "aaabb" * 4  # one more of each, as the mode changes before both
    assert {name: len(timing.seconds) for name, timing in found.items()} == {"a": 3, "b": 3}


def test_runners_of_one_mode_settle_once():
    log: list[str] = []
    rounds({name: Runner(lambda name=name: log.append(name), PLAIN) for name in "ab"}, 2, 0, CPU)
    assert "".join(log) == "aabab"


def test_modes_are_applied_and_taken_back():
    KEPT.enter()
    assert torch.are_deterministic_algorithms_enabled()
    PLAIN.enter()
    assert not torch.are_deterministic_algorithms_enabled()


FAULTS = """
import resource, torch
from benchmarks.machine import Mode

def faults(num_bytes):  # of writing to a fresh block, when others were freed before
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(8):
        torch.empty(num_bytes, dtype=torch.uint8).fill_(1)
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return min(later - earlier for earlier, later in zip(counts, counts[1:]))

Mode(None, keep_heap=False).enter()
given_back = faults(100 * 2**20)
Mode(deterministic=True, keep_heap=True).enter()
print(given_back, faults(100 * 2**20))
"""


@pytest.mark.skipif(getattr(ctypes.CDLL(None), "mallopt", None) is None, reason="another C library than glibc")
def test_blocks_too_large_for_glibc_are_faulted_in_again_unless_the_heap_is_kept():
    """In a process of its own, and of several blocks: a freed one may lack the few bytes that align the next one."""
    found = subprocess.run([sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, text=True, check=True)
    given_back, kept = map(int, found.stdout.split())
    assert given_back > 25_000
    assert kept < given_back / 10


def test_a_machine_is_described_without_its_owner():
    machine = describe(CPU)
    text = json.dumps(machine)
    assert machine["packages"]["torch"] == torch.__version__
    assert machine["memory_bytes"] > 2**28
    assert "/" not in machine["system"]
    assert platform.node() not in text or len(platform.node()) < 4
    assert getpass.getuser() not in text


def test_a_kind_of_machine_is_a_file_name():
    assert kind({"gpu": "NVIDIA H200", "processor": "AMD EPYC", "cores": 2}) == "nvidia-h200"
    assert kind({"gpu": None, "processor": "Intel(R) Xeon(R) @ 2.1GHz", "cores": 4}) == "intel-r-xeon-r-2-1ghz-4-cores"
    assert slug(" A/b ") == "a-b"


def test_an_empty_cell_says_so():
    assert table(["a", "b"], [[1, None]]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | not measured |"]
    assert show(None) is None
    assert show(2e6, ".1f", 1e-6) == "2.0"


def test_a_report_is_a_page_and_json_with_machine_and_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["anything", "--batch", "2"])
    path = report("name", "Title", {"rows": [1, None]}, "the tables", tmp_path, CPU)
    measured = json.loads(path.with_suffix(".json").read_text())
    assert path.name == f"name-{kind(describe(CPU))}.md"
    assert measured["rows"] == [1, None]
    assert {"benchmark", "command", "date", "machine"} <= measured.keys()
    for part in ("# Title\n", "--batch 2", measured["date"], "the tables", f"torch {torch.__version__}"):
        assert part in path.read_text()
    assert capsys.readouterr().out.strip() == path.read_text().strip()


def test_a_command_names_no_place_of_this_machine(tmp_path, monkeypatch, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere" / "photos.zip").touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sys.argv", ["x", "--images", "../elsewhere/photos.zip", "--out", "results", "--count", "5"])
    path = report("name", "Title", {}, "body", tmp_path / "here", torch.device("cpu"))
    assert " --images photos.zip --out results --count 5" in path.read_text()
    assert "elsewhere" not in path.read_text() + path.with_suffix(".json").read_text()
