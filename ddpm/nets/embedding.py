"""What the blocks are told besides the image: the time, turned into waves and then into an embedding.

The net's time is the number that it is called with: Ho et al. (2020) count 0..T-1; it may be fractional. The net knows
no schedule and no T. The waves of `sinusoid` and `vaswani` have periods from 2 pi to 2 pi 10000 steps; those of
`fourier` take a step for a thousandth, so that they are at home where T is near 1000.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.nets.options import TimeFeatures
from ddpm.types import Steps

MAX_PERIOD = 10_000.0
FOURIER_STEPS = 1000.0
"""Steps of time that the random frequencies count as 1; Ho et al. (2020) have 1000 in all."""
FOURIER_SCALE = 16.0
"""Standard deviation of the random frequencies (Song et al. 2021, appendix D: scale 16)."""


def sinusoid(t: Steps, width: int) -> Float[Tensor, "batch width"]:
    """Embed numbers as sines and cosines (Vaswani et al. 2017, in the variant of Ho et al. 2020).

    [sin(t f_0), ..., sin(t f_{h-1}), cos(t f_0), ..., cos(t f_{h-1})], f_i = exp(-ln(10000) i / (h - 1)), h = width / 2

    Args:
        t: (batch,), any numbers; taken as float32, whatever the precision of the net.
        width: even, at least 4.
    """
    return waves(t, falling_frequencies(width // 2, width // 2 - 1, t.device))


def vaswani(t: Steps, width: int) -> Float[Tensor, "batch width"]:
    """Embed numbers as sines and cosines with the frequencies of Vaswani et al. (2017), section 3.5.

    As `sinusoid`, but f_i = 10000^(-i / h): the lowest frequency stays above 1/10000. The paper lets sines and cosines
    alternate; to the linear layer that follows, their order is nothing.
    """
    return waves(t, falling_frequencies(width // 2, width // 2, t.device))


def fourier(t: Steps, frequencies: Float[Tensor, " half"]) -> Float[Tensor, "batch width"]:
    """Embed numbers as sines and cosines of given frequencies (Tancik et al. 2020; for time Song et al. 2021).

    [sin(2 pi f_i t / 1000), ..., cos(2 pi f_i t / 1000), ...]
    """
    return waves(t, 2 * math.pi / FOURIER_STEPS * frequencies)


def falling_frequencies(half: int, divisor: int, device: torch.device) -> Float[Tensor, " half"]:
    """10000^(-i / divisor), i = 0..half-1, in float32."""
    # Computed, not stored: a buffer would have to survive the meta device and would enter state dicts.
    i = torch.arange(half, dtype=torch.float32, device=device)
    return torch.exp(i * (-math.log(MAX_PERIOD) / divisor))


def waves(t: Steps, frequencies: Float[Tensor, " half"]) -> Float[Tensor, "batch width"]:
    """Sines, then cosines, of t times each (angular) frequency."""
    angle = t.float()[:, None] * frequencies  # (batch, half)
    return torch.cat([angle.sin(), angle.cos()], dim=1)  # (batch, width)


COMPUTED = {"sinusoid": sinusoid, "vaswani": vaswani}
"""Features of time that are a function of (t, width) alone."""


class TimeEmbedding(nn.Module):
    """Waves, linear, swish, linear (Ho et al. 2020, appendix B).

    Args:
        channels: how many waves; even.
        out_channels: of the embedding.
        features: `sinusoid` and `vaswani` are computed; `fourier` has random frequencies, a buffer that travels in the
            state dict and is never trained; `learned-fourier` starts from the same frequencies and trains them.
            `ddpm.nets.init.init_weights` draws them, N(0, 16^2).
    """

    def __init__(self, channels: int, out_channels: int, features: TimeFeatures = "sinusoid") -> None:
        super().__init__()
        self.channels, self.features = channels, features
        self.linear_1 = nn.Linear(channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)
        self.frequencies: Tensor
        if features == "fourier":
            self.register_buffer("frequencies", torch.zeros(channels // 2))
        elif features == "learned-fourier":
            self.frequencies = nn.Parameter(torch.zeros(channels // 2))

    def forward(self, t: Steps) -> Float[Tensor, "batch out_channels"]:
        """Embed the net's time; (batch,) -> (batch, out_channels)."""
        if self.features in COMPUTED:
            features = COMPUTED[self.features](t, self.channels)  # (batch, channels)
        else:
            features = fourier(t, self.frequencies)
        embedding: Tensor = self.linear_2(F.silu(self.linear_1(features.to(self.linear_1.weight.dtype))))
        return embedding  # (batch, out_channels)
