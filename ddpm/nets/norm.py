"""Group norm whose backward pass is fast where torch's is not: few channels a group, channels_last, on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

VECTOR_BYTES = 32
"""Channels of one group that fill less than this leave torch's backward kernel unvectorized (torch 2.14, AVX-512)."""


class GroupNorm(nn.GroupNorm):
    """Group normalization (Wu & He 2018); the statistics are float32, whatever the precision of x.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance of each image and group

    The same parameters and results as `nn.GroupNorm`. Only where the gradient is computed differs, see `_few_channels`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> the same shape and memory format."""
        if torch.is_grad_enabled() and self._few_channels(x):
            y: Tensor = _ChannelsLast.apply(x, self.weight, self.bias, self.num_groups, self.eps)
            return y
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def _few_channels(self, x: Tensor) -> bool:
        """Whether torch's own backward kernel would be several times slower (`benchmarks/parts.py` times both)."""
        narrow = x.shape[1] // self.num_groups * x.element_size() < VECTOR_BYTES
        return x.device.type == "cpu" and narrow and x.is_contiguous(memory_format=torch.channels_last)


class _ChannelsLast(torch.autograd.Function):
    """torch's forward kernel, and a backward pass that sums over pixels, all channels at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels, height, width = x.shape
        y, mean, rstd = torch.native_group_norm(x, weight, bias, batch, channels, height * width, groups, eps)
        ctx.save_for_backward(x, mean, rstd, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        return *gradients(dy, *ctx.saved_tensors), None, None


def gradients(dy: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias (b images, c channels, g groups, D numbers in a group).

    With the sums over pixels s_1 = sum dy and s_x = sum dy x, and over the channels of a group S_1 = sum weight s_1 and
    S_x = sum weight s_x:

    dx = weight rstd dy + k x + m,  k = rstd^3 (mean S_1 - S_x) / D,  m = -k mean - rstd S_1 / D
    d weight = sum_b rstd (s_x - mean s_1),  d bias = sum_b s_1

    All of it is computed in float32 at least, as in torch's kernel: k x and m nearly cancel where the mean is large.

    Args:
        dy, x: (b, c, h, w), x in channels_last.
        mean, rstd: (b, g).
        weight: (c,).

    Returns:
        Shaped as x, weight and bias, in their precision; the first in channels_last.
    """
    (b, c, h, w), g = x.shape, mean.shape[1]
    wide = torch.promote_types(x.dtype, torch.float32)

    def pixels(images: Tensor) -> Tensor:  # a view, if they are channels_last and wide
        return images.permute(0, 2, 3, 1).reshape(b, h * w, c).to(wide)

    x_wide, dy_wide = pixels(x), pixels(dy)
    mean, rstd, scale = mean.to(wide).view(b, g, 1), rstd.to(wide).view(b, g, 1), weight.to(wide).view(1, g, c // g)
    s_1, s_x = (product.sum(dim=1).view(b, g, c // g) for product in (dy_wide, dy_wide * x_wide))
    S_1, S_x = ((scale * sums).sum(dim=2, keepdim=True) for sums in (s_1, s_x))
    D = c // g * h * w
    k = rstd**3 * (mean * S_1 - S_x) / D
    m = -k * mean - rstd * S_1 / D

    def of_channels(values: Tensor) -> Tensor:
        return values.expand(b, g, c // g).reshape(b, 1, c)

    dx = torch.addcmul(of_channels(m), x_wide, of_channels(k)).addcmul_(dy_wide, of_channels(scale * rstd))
    d_weight, d_bias = (rstd * (s_x - mean * s_1)).sum(dim=0).reshape(c), s_1.sum(dim=0).reshape(c)
    return dx.to(x.dtype).view(b, h, w, c).permute(0, 3, 1, 2), d_weight.to(weight.dtype), d_bias.to(weight.dtype)
