"""The two halves of the U-Net of Ho et al. (2020), level by level, and how their widths and skips fit together."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ddpm.nets.attention import Attention, Weigh, dot_product_attention, linear_attention
from ddpm.nets.blocks import Downsample, ResBlock, Upsample, double, halve
from ddpm.nets.dropout import KeyedDropout
from ddpm.nets.options import Options
from ddpm.types import Images, Indices

Embeddings: TypeAlias = Float[Tensor, "batch embedding_channels"]


class DownLevel(nn.Module):
    """One resolution on the way down: blocks, each followed by attention or nothing, then the step to the next one."""

    def __init__(self, blocks: Iterable[nn.Module], attentions: Iterable[nn.Module], step: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)
        self.downsample = step

    def forward(self, h: Images, embedding: Embeddings, dropout_keys: Indices | None) -> list[Images]:
        """Return everything that the way up will need, in order; the last tensor is the one that goes on downwards."""
        outputs = []
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, embedding, dropout_keys))  # (b, c, h, w)
            outputs.append(h)
        if self.downsample is not None:
            outputs.append(take_step(self.downsample, h, embedding, dropout_keys))  # (b, c, h / 2, w / 2)
        return outputs


class UpLevel(nn.Module):
    """One resolution on the way up: blocks, each with one skip and followed by attention or nothing, then the step."""

    def __init__(self, blocks: Iterable[nn.Module], attentions: Iterable[nn.Module], step: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)
        self.upsample = step

    def forward(self, h: Images, skips: list[Images], embedding: Embeddings, dropout_keys: Indices | None) -> Images:
        """Take one skip a block off the end of `skips`; the list is shortened in place."""
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = torch.cat([h, skips.pop()], dim=1)  # (b, c + c_skip, h, w)
            h = attention(block(h, embedding, dropout_keys))  # (b, c, h, w)
        return h if self.upsample is None else take_step(self.upsample, h, embedding, dropout_keys)  # (b, c, 2 h, 2 w)


def take_step(step: nn.Module, h: Images, embedding: Embeddings, dropout_keys: Indices | None) -> Images:
    """Change the resolution; a residual block is told the time as all others are, a convolution is told nothing."""
    y: Tensor = step(h, embedding, dropout_keys) if isinstance(step, ResBlock) else step(h)
    return y


@dataclass(frozen=True)
class Parts:
    """Makes the blocks of one net, and numbers their dropouts in the order in which they are made."""

    embedding_channels: int
    attention: Sequence[int]
    heads: int
    dropout: float
    options: Options
    layers: "itertools.count[int]" = field(default_factory=itertools.count)

    def block(self, in_channels: int, channels: int, resample: Callable[[Tensor], Tensor] | None = None) -> ResBlock:
        """A residual block."""
        dropout = KeyedDropout(self.dropout, next(self.layers))
        return ResBlock(in_channels, channels, self.embedding_channels, dropout, self.options, resample)

    def attend(self, channels: int, size: int) -> nn.Module:
        """Attention of the kind that the resolution asks for, if it does."""
        if size in self.options.linear_attention:
            return self.attention_over(channels, linear_attention)
        return self.attention_over(channels) if size in self.attention else nn.Identity()

    def attention_over(self, channels: int, weigh: Weigh = dot_product_attention) -> Attention:
        """Attention with as many heads as the width asks for."""
        return Attention(channels, self.options.heads_of(channels, self.heads), self.options, weigh)

    def down(self, channels: int) -> nn.Module:
        """The step to the next coarser level."""
        residual = self.options.resample == "residual"
        return self.block(channels, channels, halve) if residual else Downsample(channels, self.options)

    def up(self, channels: int) -> nn.Module:
        """The step to the next finer level."""
        residual = self.options.resample == "residual"
        return self.block(channels, channels, double) if residual else Upsample(channels, self.options)


def down_path(
    parts: Parts, sizes: Sequence[int], widths: Sequence[int], blocks: int
) -> tuple[nn.ModuleList, list[int]]:
    """Build the levels on the way down, finest first; and list the width of every skip, that of conv_in included.

    Args:
        sizes: resolution of each level, finest first.
        widths: channels after conv_in, then of each level: one more than `sizes`.
        blocks: residual blocks a level.
    """
    levels, skips = nn.ModuleList(), [widths[0]]
    for size, (width, out) in zip(sizes, itertools.pairwise(widths), strict=True):
        ins = [width] + [out] * (blocks - 1)
        level = [parts.block(i, out) for i in ins]
        step = parts.down(out) if size != sizes[-1] else None
        levels.append(DownLevel(level, [parts.attend(out, size) for _ in ins], step))
        skips += [out] * (blocks if step is None else blocks + 1)
    return levels, skips


def up_path(parts: Parts, sizes: Sequence[int], widths: Sequence[int], skips: list[int]) -> nn.ModuleList:
    """Build the levels on the way up, coarsest first; each has one block more than on the way down, one for each skip.

    Args:
        sizes: resolution of each level, finest first.
        widths: channels of each level, finest first.
        skips: as `down_path` returns them.
    """
    levels, remaining, width = nn.ModuleList(), list(skips), widths[-1]
    blocks = len(skips) // len(sizes)  # a level on the way down has left as many skips as it has blocks here
    for size, out in zip(reversed(sizes), reversed(widths), strict=True):
        ins = [i + remaining.pop() for i in [width] + [out] * (blocks - 1)]
        level = [parts.block(i, out) for i in ins]
        step = parts.up(out) if size != sizes[0] else None
        levels.append(UpLevel(level, [parts.attend(out, size) for _ in ins], step))
        width = out
    return levels
