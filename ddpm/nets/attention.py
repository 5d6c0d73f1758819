"""Attention between the pixels: every pair of them, or all through one summary, at linear cost."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.nets.options import PLAIN, Options
from ddpm.types import Images

Heads = Float[Tensor, "b heads pixels features"]
EXPLICIT_PIXELS = 1024
"""32 x 32: the weights of one head then take 4 MB for each image in float32."""
Weigh = Callable[[Tensor, Tensor, Tensor], Tensor]


def dot_product_attention(query: Heads, key: Heads, value: Heads) -> Heads:
    """Weigh the values of all pixels, for each pixel anew (Vaswani et al. 2017, eq. 1): softmax(q k^T / sqrt(f)) v.

    On a CPU, images of up to EXPLICIT_PIXELS have their weights written out: twice as fast there as torch's kernel,
    which saves the memory that they take. The softmax is float32 at least.
    """
    if query.device.type == "cpu" and key.shape[-2] <= EXPLICIT_PIXELS:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (b, heads, pixels, pixels)
        weights: Tensor = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        return weights.to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)


def linear_attention(query: Heads, key: Heads, value: Heads) -> Heads:
    """Weigh the values of all pixels once for each feature (Shen et al. 2021, "Efficient attention", softmax form).

    softmax_f(q) (softmax_n(k)^T v): softmax over the features of a query, over the pixels for a feature of the keys

    The product of the two softmaxes is a matrix of weights, one row a pixel, each row summing to 1; it is never formed,
    so that time and memory grow as the number of pixels, not as its square.
    """
    summary = key.softmax(dim=-2).transpose(-1, -2) @ value  # (b, heads, f, f)
    return query.softmax(dim=-1) @ summary


class Attention(nn.Module):
    """Self-attention between the pixels, with a residual connection (Ho et al. 2020; one head there).

    x + projection(weigh(q, k, v)); the maps are linear over channels, that is, 1x1 convolutions.

    Args:
        channels: of the image.
        heads: the channels are divided among them.
        options: the norm, if there is one.
        weigh: `dot_product_attention` or `linear_attention`.

    Raises:
        ValueError: the channels cannot be split among the heads.
    """

    def __init__(
        self, channels: int, heads: int = 1, options: Options = PLAIN, weigh: Weigh = dot_product_attention
    ) -> None:
        super().__init__()
        if heads < 1 or channels % heads != 0:
            raise ValueError(f"Attention: heads must divide the {channels} channels, got {heads}; 1 always does")
        self.heads, self.weigh = heads, weigh
        self.norm = options.norm(channels) if options.attention_norm else nn.Identity()
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
        mixed = self.weigh(q, k, v).transpose(1, 2).flatten(2)  # (b, h w, c)
        y: Tensor = x + self.projection(mixed).transpose(1, 2).unflatten(2, x.shape[2:])  # (b, c, h, w)
        return y
