"""Which noise levels training looks at: t as a function of (seed, step, global sample number)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.types import Indices, Steps

Times: TypeAlias = Callable[[int, Indices], tuple[Steps, Tensor]]
"""(step, global sample numbers) -> t and what the losses there are multiplied with, 1 / (T p_t); both (batch,)."""

KEPT = 10
"""How many losses of each t are remembered (Nichol & Dhariwal 2021, sec. 3.3)."""

UNIFORM_SHARE = 0.001
"""How much of importance sampling stays uniform, so that no t is forgotten (their code)."""

UNITS = 2**30
"""Probabilities are counted in whole units: sums of integers are the same on every device."""


def uniform(seed: int, step: int, index: Indices, T: int, continuous: bool = False, purpose: str = "time") -> Steps:
    """t uniform on 1..T (Ho et al. 2020, algorithm 1), int64; in continuous time on [1, T], float64."""
    if continuous:
        return 1 + (T - 1) * randomness.uniform(seed, purpose, step, index, 1)[:, 0]
    return randomness.integers(seed, purpose, step, index, 1, T)


def antithetic(seed: int, step: int, index: Indices, T: int, continuous: bool = False) -> Steps:  # noqa: ARG001
    """Samples 2k and 2k + 1 get t and T + 1 - t (Song et al. 2021, DDIM, their code): less noise in the loss.

    The pair is addressed by its number alone, so that it holds where two steps share it (odd batches).
    """
    t = uniform(seed, 0, index - index % 2, T, continuous)
    return torch.where(index % 2 == 0, t, T + 1 - t)


TIME_SAMPLINGS = {"uniform": uniform, "antithetic": antithetic}
"""objective.time_sampling -> function of (seed, step, index, T, continuous); `importance` needs a `LossHistory`."""


@dataclass
class LossHistory:
    """Importance sampling of t by the size of its recent losses (Nichol & Dhariwal 2021, sec. 3.3, eq. 18).

    p_t ~ sqrt(E[L_t^2]) over the last 10 losses of each t, mixed with 0.1 % uniform; uniform until every t has ten.
    A loss divided by T p_t estimates what uniform t would. Everything stays on the device, and nothing here waits for
    it; the same losses in the same order give the same history, bit for bit.

    Attributes:
        losses: (T, 10) float32, a ring per t.
        counts: (T,) int64, how many losses each t has had.
    """

    losses: Tensor
    counts: Tensor

    @classmethod
    def empty(cls, T: int, device: torch.device) -> "LossHistory":
        """No loss seen yet."""
        return cls(torch.zeros(T, KEPT, device=device), torch.zeros(T, dtype=torch.int64, device=device))

    def units(self) -> Tensor:
        """The probability of each t in whole units, at least 1: (T,) int64, summing to about 2^30."""
        T = len(self.counts)
        size = self.losses.double().square().mean(dim=1).sqrt()
        share = (1 - UNIFORM_SHARE) * size / size.sum().clamp(min=torch.finfo(torch.float64).tiny) + UNIFORM_SHARE / T
        full = (self.counts >= KEPT).all()
        return torch.where(full, (share * UNITS).round().long().clamp(min=1), UNITS // T)

    def draw(self, seed: int, step: int, index: Indices) -> tuple[Steps, Tensor]:
        """t for a batch and what its losses are multiplied with, 1 / (T p_t) in float32; both (batch,)."""
        units = self.units()
        ends = units.cumsum(dim=0)
        dart = (randomness.words(seed, "time", step, index, 1)[:, 0] * ends[-1]) >> 32
        t = torch.searchsorted(ends, dart, right=True) + 1
        return t, (ends[-1].double() / (len(units) * units[t - 1])).float()

    def update(self, t: Steps, losses: Tensor) -> None:
        """Remember the losses of a batch, in its order; where one t comes more than ten times, its last ten."""
        row, T = t - 1, len(self.counts)
        same = row[:, None] == row[None, :]
        before, after = same.tril(-1).sum(dim=1), same.triu(1).sum(dim=1)
        slot = row * KEPT + (self.counts[row] + before) % KEPT
        # Overtaken losses go to a cell that is thrown away: writing each cell once keeps the result deterministic.
        slot = torch.where(after < KEPT, slot, T * KEPT)
        cells = torch.cat([self.losses.flatten(), self.losses.new_zeros(1)])
        self.losses = cells.index_put((slot,), losses.detach().to(cells.dtype))[:-1].reshape(T, KEPT)
        self.counts = self.counts.index_put((row,), torch.ones_like(row), accumulate=True)
