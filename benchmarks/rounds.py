"""Times of several things, taken in turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.machine import Mode


@dataclass(frozen=True)
class Timing:
    """Seconds of one run of something, one value a turn."""

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        """The fastest round: other programs can only slow one down."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def over(self, other: "Timing") -> dict[str, float]:
        """How many times as long as the other it takes: the best rounds of both, and the medians."""
        return {"best": self.best / other.best, "median": self.median / other.median}


@dataclass(frozen=True)
class Runner:
    """Something to be timed, in its mode.

    Attributes:
        runs: that make one measurement.
        turns: in a round: more where the times of one thing swing more than those of others.
        before: comes before its time.
    """

    run: Callable[[], object]
    mode: Mode
    runs: int = 1
    turns: int = 1
    before: Callable[[], object] = lambda: None


def rounds(runners: Mapping[str, Runner], count: int, warm_up: int, device: torch.device) -> dict[str, Timing]:
    """Time them in turns, round after round, so that a machine whose speed changes changes it for all.

    After a change of the mode one run is not timed: the heap is then as the one before has left it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    mode: Mode | None = None
    for number in range(warm_up + count):
        for name, runner in runners.items():
            if runner.mode != mode:
                mode = runner.mode
                mode.enter()
                runner.run()
            spent = [timed(runner, device) for _ in range(runner.turns)]
            if number >= warm_up:
                seconds[name] += spent
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def timed(runner: Runner, device: torch.device) -> float:
    """Seconds of one run, the mean of `runner.runs`; waits for the device before and after."""
    runner.before()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(runner.runs):
        runner.run()
    synchronize(device)
    return (time.perf_counter() - started) / runner.runs


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
