"""Mixtures of normals on a line, and what the forward process makes of them, in closed form."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm.diffusion.schedule import Scales

HALVINGS = 60  # of the bracket around a quantile: more than float64 has bits


@dataclass(frozen=True)
class Mixture:
    """sum_k weight_k N(mean_k, std_k^2) on a line; the weights sum to 1."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the whole."""
        return sum(weight * mean for weight, mean in zip(self.weights, self.means, strict=True))

    @property
    def std(self) -> float:
        """Of the whole."""
        parts = zip(self.weights, self.means, self.stds, strict=True)
        return math.sqrt(sum(weight * (std**2 + mean**2) for weight, mean, std in parts) - self.mean**2)

    def noised(self, scales: Scales) -> "Mixture":
        """The density of x_t = signal x0 + noise eps: each part is N(signal mean, signal^2 std^2 + noise^2)."""
        signal, noise = scales
        return Mixture(
            self.weights,
            tuple(signal * mean for mean in self.means),
            tuple(((signal * std) ** 2 + noise**2) ** 0.5 for std in self.stds),
        )

    def density(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """At points of any shape."""
        total = torch.zeros_like(x)
        for weight, mean, std in self._parts():
            total = total + weight * torch.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
        return total

    def cdf(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The share of the mass that lies below x."""
        total = torch.zeros_like(x)
        for weight, mean, std in self._parts():
            total = total + weight * torch.special.ndtr((x - mean) / std)
        return total

    def quantiles(self, shares: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The inverse of `cdf` by bisection, within eight standard deviations of the parts; shares lie in (0, 1)."""
        low = torch.full_like(shares, min(mean - 8 * std for _, mean, std in self._parts()))
        high = torch.full_like(shares, max(mean + 8 * std for _, mean, std in self._parts()))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.cdf(middle) < shares
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high

    def _parts(self) -> list[tuple[float, float, float]]:
        return list(zip(self.weights, self.means, self.stds, strict=True))
