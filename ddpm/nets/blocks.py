"""The parts of the U-Net of Ho et al. (2020) that are made of convolutions: residual block, changes of resolution.

Shapes: b batch, c channels, (h, w) image, e embedding channels. No part asks for a memory format or a copy, so that
channels_last survives where the device's kernels keep it. Statistics of the norms are float32 under autocast: CUDA's
autocast runs `group_norm` in float32, the CPU kernel accumulates bfloat16 input in float32.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.nets.dropout import KeyedDropout
from ddpm.nets.options import PLAIN, Options
from ddpm.types import Images, Indices


def halve(x: Images) -> Images:
    """Average 2x2 pixels; (b, c, h, w) -> (b, c, h / 2, w / 2)."""
    return F.avg_pool2d(x, 2)


def double(x: Images) -> Images:
    """Repeat each pixel 2x2 times, the nearest neighbor; (b, c, h, w) -> (b, c, 2 h, 2 w)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def swish(x: Tensor) -> Tensor:
    """x sigmoid(x), for a tensor that nobody else reads: in its place, unless a gradient needs what was there."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class ResBlock(nn.Module):
    """Norm, swish, conv; the embedding; norm, swish, dropout, conv; add the input (Ho et al. 2020, appendix B).

    The embedding e comes in as norm(h + W e) or, with options.conditioning "scale-shift", as
    norm(h) (1 + scale) + shift, (scale, shift) = W e (Dhariwal & Nichol 2021).

    Args:
        in_channels: of the input; other than `channels`: a 1x1 convolution on the way round.
        channels: of the output.
        embedding_channels: of what the block is told.
        dropout: the layer in front of the second convolution.
        options: norm, convolution, conditioning and sum.
        resample: `halve` or `double`, on both ways: after the first swish, and of the input (Brock et al. 2019).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        embedding_channels: int,
        dropout: KeyedDropout,
        options: Options = PLAIN,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.options, self.resample = options, resample
        self.norm_1 = options.norm(in_channels)
        self.conv_1 = options.conv(in_channels, channels)
        self.time_projection = nn.Linear(
            embedding_channels, 2 * channels if options.conditioning == "scale-shift" else channels
        )
        self.norm_2 = options.norm(channels)
        self.dropout = dropout
        self.conv_2 = options.conv(channels, channels)
        self.shortcut = nn.Conv2d(in_channels, channels, 1) if in_channels != channels else nn.Identity()

    def forward(self, x: Images, embedding: Float[Tensor, "b e"], dropout_keys: Indices | None) -> Images:
        """(b, in_channels, h, w) -> (b, channels, h, w); the embedding comes with its swish already applied."""
        h = swish(self.norm_1(x))
        if self.resample is not None:
            x, h = self.resample(x), self.resample(h)  # (b, in_channels, h', w')
        h = self.conv_1(h)  # (b, channels, h, w)
        told = self.time_projection(embedding)[:, :, None, None]
        if self.options.conditioning == "scale-shift":
            scale, shift = told.chunk(2, dim=1)  # (b, channels, 1, 1) each
            h = self.norm_2(h) * (1 + scale) + shift
        else:
            h = self.norm_2(h + told)
        h = self.dropout(swish(h), dropout_keys)
        return self.options.add(self.shortcut(x), self.conv_2(h))  # (b, channels, h, w)


class Downsample(nn.Module):
    """Halve the resolution by a convolution of stride 2, padded as options.downsample_padding says.

    Asymmetric: one pixel on the right and one below, none on the left and above, as TensorFlow pads; a circular image
    finds its first column and row there. Symmetric: one pixel on each side.
    """

    def __init__(self, channels: int, options: Options = PLAIN) -> None:
        super().__init__()
        self.margin_mode = None
        if options.downsample_padding == "symmetric":
            self.conv = options.conv(channels, channels, stride=2)
        else:
            self.margin_mode = "circular" if options.padding == "circular" else "constant"
            self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Images) -> Images:
        """(b, c, h, w) -> (b, c, h / 2, w / 2)."""
        y: Tensor = self.conv(x if self.margin_mode is None else F.pad(x, (0, 1, 0, 1), mode=self.margin_mode))
        return y


class Upsample(nn.Module):
    """Double the resolution: nearest neighbor, then a convolution."""

    def __init__(self, channels: int, options: Options = PLAIN) -> None:
        super().__init__()
        self.conv = options.conv(channels, channels)

    def forward(self, x: Images) -> Images:
        """(b, c, h, w) -> (b, c, 2 h, 2 w)."""
        y: Tensor = self.conv(double(x))
        return y
