"""The parts of the U-Net of Ho et al. (2020): residual block, attention, and the two changes of resolution.

Shapes: b batch, c channels, (h, w) image, e embedding channels. No part asks for a memory format or a copy, so that
channels_last survives where the device's kernels keep it. Statistics of the norms are float32 under autocast: CUDA's
autocast runs `group_norm` in float32, the CPU kernel accumulates bfloat16 input in float32.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.nets.dropout import KeyedDropout
from ddpm.types import Images, Indices

NORM_GROUPS = 32
NORM_EPS = 1e-6


def group_norm(channels: int) -> nn.GroupNorm:
    """The one normalization in the net: 32 groups, eps 1e-6."""
    return nn.GroupNorm(NORM_GROUPS, channels, eps=NORM_EPS)


class ResBlock(nn.Module):
    """Norm, swish, conv; add the embedding; norm, swish, dropout, conv; add the input. The sum is not rescaled."""

    def __init__(self, in_channels: int, channels: int, embedding_channels: int, dropout: KeyedDropout) -> None:
        super().__init__()
        self.norm_1 = group_norm(in_channels)
        self.conv_1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.time_projection = nn.Linear(embedding_channels, channels)
        self.norm_2 = group_norm(channels)
        self.dropout = dropout
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, channels, 1) if in_channels != channels else nn.Identity()

    def forward(self, x: Images, embedding: Float[Tensor, "b e"], dropout_keys: Indices | None) -> Images:
        """(b, in_channels, h, w) -> (b, channels, h, w); the embedding comes with its swish already applied."""
        h = self.conv_1(F.silu(self.norm_1(x)))  # (b, channels, h, w)
        h = h + self.time_projection(embedding)[:, :, None, None]
        h = self.dropout(F.silu(self.norm_2(h)), dropout_keys)
        y: Tensor = self.shortcut(x) + self.conv_2(h)  # (b, channels, h, w)
        return y


class Attention(nn.Module):
    """Self-attention between the pixels, with a residual connection (Ho et al. 2020; one head there).

    x + projection(softmax(q k^T / sqrt(c / heads)) v); the maps are linear over channels, that is, 1x1 convolutions.

    Raises:
        ValueError: the channels cannot be split among the heads.
    """

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        if heads < 1 or channels % heads != 0:
            raise ValueError(f"Attention: heads must divide the {channels} channels, got {heads}; 1 always does")
        self.heads = heads
        self.norm = group_norm(channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: Images) -> Images:
        """(b, c, h, w) -> the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (b, h w, c); a view, if x is channels_last
        q, k, v = (
            linear(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (b, heads, h w, c / heads)
            for linear in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (b, h w, c)
        y: Tensor = x + self.projection(mixed).transpose(1, 2).unflatten(2, x.shape[2:])  # (b, c, h, w)
        return y


class Downsample(nn.Module):
    """Halve the resolution: convolution of stride 2, padded on the right and below only, as TensorFlow pads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Images) -> Images:
        """(b, c, h, w) -> (b, c, h / 2, w / 2)."""
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return y


class Upsample(nn.Module):
    """Double the resolution: nearest neighbor, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Images) -> Images:
        """(b, c, h, w) -> (b, c, 2 h, 2 w)."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y
