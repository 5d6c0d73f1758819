"""Rows of the training benchmark, the bars they are held against, and both as tables and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.loops import DIFFUSERS, OURS, Candidate
from benchmarks.machine import show, table
from benchmarks.rounds import Timing

TRAINING_FLOP = 6
"""Operations of training for each multiply-accumulate of a forward pass: two there, four on the way back."""
BEST, MEDIAN = "best", "median"
KINDS = (BEST, MEDIAN)
Rates = Mapping[str, Mapping[str, float]]
"""Precision -> best and median rate of matrix products in FLOP/s."""


@dataclass(frozen=True)
class Alone:
    """What a loop took in a process of its own.

    Attributes:
        memory_bytes: growth of the peak since before it was built; on a GPU the peak of torch's tensors.
        page_faults: of one step; 0 on a GPU is as good as anything.
        seconds: of one step, the best of a few, with the heap as the loop itself sets it.
    """

    memory_bytes: int
    page_faults: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """What was measured of one loop.

    Attributes:
        images: of one step.
        parameters, macs: of its net, see `benchmarks.peers.Loop`.
        timing: of one step, in turns with the others.
    """

    candidate: Candidate
    images: int
    parameters: int
    macs: int
    timing: Timing
    alone: Alone | None = None

    def images_per_second(self, kind: str) -> float:
        """Of the best or the median round."""
        seconds: float = getattr(self.timing, kind)
        return self.images / seconds

    def share(self, rates: Rates, kind: str) -> float | None:
        """Model FLOP/s utilization: the net's arithmetic over that of matrix products in the same precision."""
        rate = rates.get(self.candidate.precision)
        return TRAINING_FLOP * self.macs * self.images_per_second(kind) / rate[kind] if rate else None


@dataclass(frozen=True)
class Bar:
    """Something that ours must reach.

    Attributes:
        text: what is measured.
        wanted: at least this.
        measured: best and median; None: not measured. The median is held against the bar.
    """

    text: str
    wanted: float
    measured: Mapping[str, float] | None

    @property
    def met(self) -> bool | None:
        """Whether it is reached."""
        return None if self.measured is None else self.measured[MEDIAN] >= self.wanted


def ours_of(rows: Sequence[Row]) -> Row | None:
    """Our row in bf16."""
    return next((row for row in rows if (row.candidate.who, row.candidate.precision) == (OURS, "bf16")), None)


def ratio(rows: Sequence[Row], other: Candidate) -> dict[str, float] | None:
    """How many times as many images per second ours computes in bf16 as another loop, if both were measured."""
    ours, theirs = ours_of(rows), next((row for row in rows if row.candidate == other), None)
    if ours is None or theirs is None:
        return None
    return {kind: ours.images_per_second(kind) / theirs.images_per_second(kind) for kind in KINDS}


def bars(rows: Sequence[Row], rates: Rates, gpu: bool, same_bytes: bool | None) -> list[Bar]:
    """All bars of a device; the other device's are not measured here."""
    ours, times = ours_of(rows), "images/s, over diffusers' loop in"
    reached = {kind: ours.share(rates, kind) for kind in KINDS} if ours else {}
    share = {kind: value for kind, value in reached.items() if value is not None} or None
    plain = ratio(rows, Candidate(DIFFUSERS, "float32", "contiguous"))
    by_hand = {layout: ratio(rows, Candidate(DIFFUSERS, "bf16", layout)) for layout in ("contiguous", "channels_last")}
    same = None if same_bytes is None else dict.fromkeys(KINDS, float(same_bytes))
    cpu = [
        Bar(f"CPU: {times} float32, contiguous, as it is", 2.0, None if gpu else plain),
        *(Bar(f"CPU: {times} bf16, {layout}", 1.1, None if gpu else found) for layout, found in by_hand.items()),
        Bar("CPU: share of the bf16 matrix rate", 0.75, None if gpu else share),
    ]
    return [
        *cpu,
        *(Bar(f"GPU: {times} bf16, {layout}", 2.0, found if gpu else None) for layout, found in by_hand.items()),
        Bar("GPU: share of the bf16 matrix rate (MFU)", 0.3, share if gpu else None),
        Bar(f"{'GPU' if gpu else 'CPU'}: the same bytes twice (1: yes)", 1.0, same),
    ]


def rows_table(rows: Sequence[Row], rates: Rates) -> str:
    """One line a loop."""
    head = ["loop", "parameters", "GFLOP per image", "images/s, best", "median", "share of matrix rate, best", "median"]
    head += ["ours in bf16 is faster, best", "median", "peak memory, MB", "page faults per step", "step alone, s"]
    lines = []
    for row in rows:
        times = ratio(rows, row.candidate) or {}
        alone = asdict(row.alone) if row.alone else {}
        shares = [row.share(rates, kind) for kind in KINDS]
        lines.append([
            row.candidate.label,
            f"{row.parameters:,}",
            f"{TRAINING_FLOP * row.macs / 1e9:.2f}",
            *(f"{row.images_per_second(kind):.2f}" for kind in KINDS),
            *(show(share, ".0%") for share in shares),
            *(show(times.get(kind), ".2f") for kind in KINDS),
            show(alone.get("memory_bytes"), ".0f", 1e-6),
            show(alone.get("page_faults"), ",.0f"),
            show(alone.get("seconds"), ".3f"),
        ])  # fmt: skip
    return table(head, lines)


def bars_table(found: Sequence[Bar]) -> str:
    """One line a bar."""
    lines = []
    for bar in found:
        values = [show((bar.measured or {}).get(kind), ".2f") for kind in KINDS]
        lines.append([bar.text, f"{bar.wanted:g}", *values, {None: None, True: "yes", False: "no"}[bar.met]])
    return table(["at least", "wanted", "best", "median", "met by the median"], lines)


def as_json(rows: Sequence[Row], rates: Rates, found: Sequence[Bar]) -> dict[str, Any]:
    """All numbers; null where nothing was measured."""
    return {
        "matrix_flop_per_second": {precision: dict(rate) for precision, rate in rates.items()},
        "rows": [
            {
                **asdict(row),
                "label": row.candidate.label,
                "images_per_second": {kind: row.images_per_second(kind) for kind in KINDS},
                "share_of_matrix_rate": {kind: row.share(rates, kind) for kind in KINDS},
                "ours_is_faster": ratio(rows, row.candidate),
            }
            for row in rows
        ],
        "bars": [{**asdict(bar), "met": bar.met} for bar in found],
    }
