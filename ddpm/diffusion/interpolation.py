"""Between the steps of a table: monotone interpolation of log SNR."""

import torch
from torch import Tensor


def interpolated(knots: Tensor, T: int, t: Tensor) -> tuple[Tensor, Tensor]:
    """(signal_scale, noise_scale) of a variance preserving table at any times in [0, T], float64.

    Log SNR between whole steps from 1 on is the monotone cubic of Fritsch & Butland (1984), which has one continuous
    derivative and never turns. Below step 1, where log SNR goes to infinity, the noise's variance grows linearly. If
    step T holds no signal at all, signal_scale falls linearly to it.

    Args:
        knots: log SNR of the steps 1, 2, ..., finite and strictly falling; T of them, or T - 1 if step T holds no
            signal.
        T: number of steps.
        t: of any shape.
    """
    # `clamp` would do, but has no gradient at its ends in some releases of torch, and processes ask for theirs there.
    inside = torch.where(t < 1, 0, torch.where(t > len(knots), len(knots) - 1, t - 1))
    y = monotone_cubic(knots, inside)
    signal_var, noise_var = torch.sigmoid(y), torch.sigmoid(-y)
    first = torch.sigmoid(-knots[0])
    noise_var = torch.where(t < 1, t * first, noise_var)
    signal_var = torch.where(t < 1, 1 - t * first, signal_var)
    if len(knots) < T:
        beyond = t - len(knots)  # in (0, 1] between the last signal and none
        signal_var = torch.where(beyond > 0, torch.sigmoid(knots[-1]) * (1 - beyond).square(), signal_var)
        noise_var = torch.where(beyond > 0, 1 - signal_var, noise_var)
    return signal_var.sqrt(), noise_var.sqrt()


def monotone_cubic(y: Tensor, x: Tensor) -> Tensor:
    """The cubic Hermite spline through (k, y_k) with harmonic-mean slopes; scipy calls it PCHIP.

    Args:
        y: (n,), strictly falling.
        x: of any shape, in [0, n - 1].
    """
    if len(y) == 1:
        return y[0].expand(x.shape)
    step = y.diff()  # all negative
    ends = torch.stack([1.5 * step[0] - 0.5 * step[min(1, len(step) - 1)], 1.5 * step[-1] - 0.5 * step[-2:][0]])
    ends = ends.clamp(max=0)
    inner = 2 * step[:-1] * step[1:] / (step[:-1] + step[1:])
    slope = torch.cat([ends[:1], inner, ends[1:]])
    k = x.detach().floor().long().clamp(max=len(y) - 2)
    u = x - k
    weights = (1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2, u**2 * (3 - 2 * u), u**2 * (u - 1)
    return weights[0] * y[k] + weights[1] * slope[k] + weights[2] * y[k + 1] + weights[3] * slope[k + 1]
