"""Bars in both directions, as a table that says `met` or `MISSED`, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.machine import NOT_MEASURED, show, table
from benchmarks.rounds import Timing
from benchmarks.verdict import BEST, KINDS, MEDIAN


@dataclass(frozen=True)
class Limit:
    """What a measured number must keep to.

    Attributes:
        text: what is measured.
        bound: the number must be at least this, or less than it.
        measured: best and median of the rounds; None: not measured. The median is held against the bound.
        below: whether it must be less.
    """

    text: str
    bound: float
    measured: Mapping[str, float] | None
    below: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is kept to; None where nothing was measured."""
        if self.measured is None:
            return None
        value = self.measured[MEDIAN]
        return value < self.bound if self.below else value >= self.bound

    @property
    def verdict(self) -> str:
        """The same in a word."""
        return {None: NOT_MEASURED, True: "met", False: "MISSED"}[self.met]


def once(value: float) -> dict[str, float]:
    """A number that does not change from round to round."""
    return dict.fromkeys(KINDS, value)


def seconds(timing: Timing) -> dict[str, float]:
    """Best and median of a time."""
    return {BEST: timing.best, MEDIAN: timing.median}


def limits_table(limits: Sequence[Limit]) -> str:
    """One line a bar."""
    lines = []
    for limit in limits:
        values = [show((limit.measured or {}).get(kind), ".3g") for kind in KINDS]
        wanted = f"{'less than' if limit.below else 'at least'} {limit.bound:g}"
        lines.append([limit.text, wanted, *values, limit.verdict])
    return table(["bar", "wanted", "best", "median", "by the median"], lines)


def limits_json(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    """All of them; null where nothing was measured."""
    return [{**asdict(limit), "met": limit.met} for limit in limits]
