"""Processes in continuous time (Song et al. 2021, Score-SDE): VP, sub-VP and VE, as schedules over t in [0, T]."""

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from ddpm.diffusion.schedule import Schedule


def vp_linear(T: int, beta_1: float, beta_T: float) -> Schedule:
    """The variance preserving SDE whose beta grows linearly (Song et al. 2021, eqs. 32-33), exact at every t.

    log alpha_bar = -(t beta_1 + t^2 (beta_T - beta_1) / (2 T)); their beta_min is T beta_1, their time is t / T
    """

    def curve(t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha_bar = -(t * beta_1 + t.square() * (beta_T - beta_1) / (2 * T))
        return (log_alpha_bar / 2).exp(), (-torch.expm1(log_alpha_bar)).sqrt()

    return Schedule(*curve(_steps(T)), curve, continuous=True)


def vp(table: Schedule) -> Schedule:
    """A variance preserving process of any other kind: its table, interpolated, trained at all times."""
    return replace(table, continuous=True)


def sub_vp(process: Schedule) -> Schedule:
    """The sub-VP SDE of a variance preserving process: noise_scale becomes its square (Song et al. 2021, eq. 29)."""

    on = cache(process.to)  # the tables of an interpolated process have to be where t is

    def curve(t: Tensor) -> tuple[Tensor, Tensor]:
        signal, noise = on(t.device).scales(t)
        return signal, noise.square()

    return Schedule(process.signal_scale, process.noise_scale.square(), curve, continuous=True)


def ve(T: int, sigma_min: float, sigma_max: float) -> Schedule:
    """The variance exploding SDE: noise_scale grows geometrically from step 1 to T (Song et al. 2021, eq. 30).

    noise_scale = sigma_min (sigma_max / sigma_min)^((t - 1) / (T - 1)); below step 1 its square grows linearly from 0
    """

    def curve(t: Tensor) -> tuple[Tensor, Tensor]:
        early = t < 1  # each branch stays away from the other's times: `where` does not stop infinite gradients
        sigma = sigma_min * (sigma_max / sigma_min) ** (torch.where(early, 0, t - 1) / max(T - 1, 1))
        return torch.ones_like(t), torch.where(early, torch.where(early, t, 1).sqrt() * sigma_min, sigma)

    return Schedule(*curve(_steps(T)), curve, continuous=True)


def _steps(T: int) -> Tensor:
    return torch.arange(T + 1, dtype=torch.float64)
