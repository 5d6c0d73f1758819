"""What a U-Net may do otherwise than that of Ho et al. (2020), and the operations that all its parts share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ddpm.nets.norm import GroupNorm

NORM_GROUPS = 32
"""Groups of every norm (Ho et al. 2020)."""

Conditioning = Literal["add", "scale-shift"]
Resample = Literal["conv", "residual"]
TimeFeatures = Literal["sinusoid", "vaswani", "fourier", "learned-fourier"]
Stem = Literal[3, 7]
Padding = Literal["zeros", "circular"]
DownsamplePadding = Literal["asymmetric", "symmetric"]


@dataclass(frozen=True)
class Options:
    """Choices that every part of one net shares; the defaults are those of Ho et al. (2020).

    Attributes:
        linear_attention: resolutions whose blocks are followed by linear attention (Shen et al. 2021).
        head_channels: channels of each attention head, so that wide levels have more heads; 0: a fixed number of heads.
        conditioning: the embedding is added before a block's second norm, or scales and shifts what comes out of it
            (FiLM, Perez et al. 2018; in ADM, Dhariwal & Nichol 2021).
        resample: between resolutions stands a convolution, or a residual block that resamples both of its branches
            (Brock et al. 2019; in ADM).
        rescale_residuals: divide the sum of every residual block by sqrt(2) (Karras et al. 2018; Song et al. 2021).
        attention_norm: whether every attention normalizes its input.
        stem_norm: whether a norm and a swish follow the first convolution.
        time_features: what the time is turned into first; see `ddpm.nets.embedding`.
        stem: width of the first convolution, in pixels.
        padding: beyond its border the image is zero, or goes on at the opposite border (a torus).
        downsample_padding: a convolution of stride 2 sees one pixel more on the right and below, as TensorFlow pads,
            or one on every side.
        norm_eps: what every norm adds to the variance; Ho et al. 1e-6, PyTorch by default 1e-5.
    """

    linear_attention: Sequence[int] = ()
    head_channels: int = 0
    conditioning: Conditioning = "add"
    resample: Resample = "conv"
    rescale_residuals: bool = False
    attention_norm: bool = True
    stem_norm: bool = False
    time_features: TimeFeatures = "sinusoid"
    stem: Stem = 3
    padding: Padding = "zeros"
    downsample_padding: DownsamplePadding = "asymmetric"
    norm_eps: float = 1e-6

    def norm(self, channels: int) -> GroupNorm:
        """The one normalization in the net: 32 groups."""
        return GroupNorm(NORM_GROUPS, channels, eps=self.norm_eps)

    def conv(self, in_channels: int, channels: int, width: int = 3, stride: int = 1) -> nn.Conv2d:
        """A convolution with an odd window, padded alike on all sides; stride 1 keeps the resolution."""
        return nn.Conv2d(in_channels, channels, width, stride=stride, padding=width // 2, padding_mode=self.padding)

    def add(self, x: Tensor, h: Tensor) -> Tensor:
        """The residual sum: x + h, or (x + h) / sqrt(2), which keeps the variance when both have the same."""
        return (x + h) * 0.5**0.5 if self.rescale_residuals else x + h

    def heads_of(self, width: int, heads: int) -> int:
        """How many heads an attention of this width has, where `heads` is the fixed number."""
        return width // self.head_channels if self.head_channels else heads


PLAIN = Options()
"""The choices of Ho et al. (2020)."""
