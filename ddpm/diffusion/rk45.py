"""The embedded Runge-Kutta pair of Dormand & Prince (1980), 5(4), over a batch in which every image has its own steps.

Tableau, choice of the first step, error norm and step control are those of scipy's `RK45`, so that every image ends
where `scipy.integrate.solve_ivp` would end for it alone, after as many evaluations. Time, step sizes and errors are
float64; the state has the precision that it is given in. The loop looks at the device once per step.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Field: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(t, y) -> dy/dt, t (batch,) float64, y (batch, ...)."""

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""Row i: weights of the slopes so far for stage i + 1; the last row is the solution of order 5 (first same as last)."""
ERROR = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)
"""Weights of the seven slopes for the difference between the orders 4 and 5."""

SAFETY, LEAST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 10.0


class Motion(NamedTuple):
    """Where every image stands.

    Attributes:
        t: (batch,), its time, float64.
        y: (batch, ...), its state.
        slope: dy/dt there.
        step: (batch,), size of the step to try next, positive, float64.
        evaluations: (batch,), how often the field was asked on its behalf, int64.
        accepted: (batch,), steps done, int64.
    """

    t: Tensor
    y: Tensor
    slope: Tensor
    step: Tensor
    evaluations: Tensor
    accepted: Tensor


def start(field: Field, t: float, y: Tensor, bound: float, tolerance: float) -> Motion:
    """Evaluate the field and choose first steps (Hairer, Norsett & Wanner 1993, sec. II.4).

    Args:
        field: see `Field`; row i of its value must follow from row i of t and y alone.
        t: where all images begin.
        y: (batch, ...).
        bound: where they are to arrive; more than a last step of `integrate` may follow it.
        tolerance: relative and absolute error allowed in one step.
    """
    length, forward = abs(bound - t), 1.0 if bound >= t else -1.0
    times = torch.full((len(y),), t, dtype=torch.float64, device=y.device)
    slope = field(times, y)
    scale = tolerance + tolerance * y.abs().double()
    d0, d1 = _norm(y / scale), _norm(slope / scale)
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).clamp(max=length)
    ahead = field(times + forward * h0, y + _of(forward * h0, y) * slope)
    d2 = _norm((ahead - slope) / scale) / h0
    flat = (d1 <= 1e-15) & (d2 <= 1e-15)
    h1 = torch.where(flat, (1e-3 * h0).clamp(min=1e-6), (0.01 / torch.maximum(d1, d2)) ** (1 / 5))
    step = torch.minimum(100 * h0, h1).clamp(max=length)
    count = torch.zeros_like(times, dtype=torch.int64)
    return Motion(times, y, slope, step, count + 2, count)


def integrate(field: Field, motion: Motion, bound: float, tolerance: float) -> Motion:
    """Move every image to time `bound`, forward or backward, each in steps of its own.

    A step is accepted if the root mean square of error / (tolerance + tolerance max(|y|, |y_new|)) is below 1. Images
    that have arrived wait for the others. A step that was only shortened to end at `bound` does not shorten the one
    after it, so that a way may be gone in several legs.

    Raises:
        ValueError: the field is not finite, or so stiff that steps vanish.
    """
    rejected = torch.zeros_like(motion.t, dtype=torch.bool)
    while True:
        moving = motion.t != bound
        beyond = torch.where(motion.t < bound, torch.inf, -torch.inf)
        smallest = 10 * (torch.nextafter(motion.t, beyond) - motion.t).abs()
        wanted = torch.where(rejected, motion.step, torch.maximum(motion.step, smallest))
        vanished = moving & ~(wanted >= smallest)  # also where the step is not a number
        any_moving, any_vanished = torch.stack([moving.any(), vanished.any()]).tolist()
        if any_vanished:
            raise ValueError(
                "rk45: the solution must stay finite and steps must not vanish, got steps below 10 ulp of t; "
                "raise the tolerance, or look for what makes the net's output infinite"
            )
        if not any_moving:
            return motion
        motion, rejected = _attempt(field, motion, wanted, rejected, bound, tolerance)


def _attempt(
    field: Field, motion: Motion, wanted: Tensor, rejected: Tensor, bound: float, tolerance: float
) -> tuple[Motion, Tensor]:
    """Try one step for every image that has not arrived; returns also whose step was too large."""
    t, y = motion.t, motion.y
    cut = wanted >= (bound - t).abs()  # always so where an image has arrived, which then stands still
    t_new = torch.where(cut, bound, t + torch.sign(bound - t) * wanted)
    h = t_new - t
    y_new, slopes = _stages(field, t, t_new, y, motion.slope)
    difference = _weighted(ERROR, slopes) * _of(h, y)
    scale = tolerance + tolerance * torch.maximum(y.abs(), y_new.abs()).double()
    error = _norm(difference / scale)
    moving, good = t != bound, error < 1
    proposed = SAFETY * error ** (-1 / 5)  # infinite where there is no error
    grown = proposed.clamp(max=LARGEST_FACTOR)
    grown = torch.where(rejected, grown.clamp(max=1), grown) * h.abs()
    grown = torch.where(cut & ~rejected, torch.maximum(grown, wanted), grown)
    step = torch.where(good, grown, proposed.clamp(min=LEAST_FACTOR) * h.abs())
    move = moving & good
    count = moving.to(torch.int64)
    return Motion(
        torch.where(move, t_new, t),
        torch.where(_of(move, y), y_new, y),
        torch.where(_of(move, y), slopes[-1], motion.slope),
        torch.where(moving, step, motion.step),
        motion.evaluations + 6 * count,
        motion.accepted + move,
    ), moving & ~good


def _stages(field: Field, t: Tensor, t_new: Tensor, y: Tensor, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The solution of order 5 at t_new and the seven slopes, the last of them there."""
    slopes, h, y_new = [slope], t_new - t, y
    for node, weights in zip(NODES, STAGES, strict=True):
        y_new = y + _of(h, y) * _weighted(weights, slopes)
        # t + h may miss t_new by rounding, and a process need not be smooth where it begins
        slopes.append(field(t_new if node == 1 else t + node * h, y_new))
    return y_new, slopes


def _weighted(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        if weight:
            total = total + weight * slope
    return total


def _of(row: Tensor, y: Tensor) -> Tensor:
    """One number per image, shaped and typed to be combined with y."""
    row = row if row.dtype == torch.bool else row.to(y.dtype)
    return row.reshape(-1, *[1] * (y.ndim - 1))


def _norm(ratio: Tensor) -> Tensor:
    """Root mean square of each image, (batch,) float64."""
    return ratio.double().flatten(1).square().mean(dim=1).sqrt()
