"""What the blocks are told besides the image: the time, as Ho et al. (2020) embed it, and optionally a label."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.types import Steps

MAX_PERIOD = 10_000.0


def sinusoid(t: Steps, width: int) -> Float[Tensor, "batch width"]:
    """Embed numbers as sines and cosines (Vaswani et al. 2017, in the variant of Ho et al. 2020).

    [sin(t f_0), ..., sin(t f_{h-1}), cos(t f_0), ..., cos(t f_{h-1})], f_i = exp(-ln(10000) i / (h - 1)), h = width / 2

    Args:
        t: (batch,), any numbers; taken as float32, whatever the precision of the net.
        width: even, at least 4.
    """
    half = width // 2
    # Computed, not stored: a buffer would have to survive the meta device and would enter state dicts.
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    angle = t.float()[:, None] * torch.exp(i * (-math.log(MAX_PERIOD) / (half - 1)))  # (batch, half)
    return torch.cat([angle.sin(), angle.cos()], dim=1)  # (batch, width)


class TimeEmbedding(nn.Module):
    """Sinusoid, linear, swish, linear (Ho et al. 2020, appendix B)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear_1 = nn.Linear(channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def forward(self, t: Steps) -> Float[Tensor, "batch out_channels"]:
        """Embed the net's time; (batch,) -> (batch, out_channels)."""
        waves = sinusoid(t, self.channels).to(self.linear_1.weight.dtype)  # (batch, channels)
        embedding: Tensor = self.linear_2(F.silu(self.linear_1(waves)))  # (batch, out_channels)
        return embedding
