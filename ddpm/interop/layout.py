"""What a U-Net of another system is built like, in plain numbers: what all formats are translated to and from."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The U-Net of Ho et al. (2020) and those of its options that foreign formats know.

    Attributes:
        image_size: height and width.
        in_channels, out_channels: of the input and the output.
        channels, multipliers, blocks: widths and depth, finest level first.
        attention: the levels that attend, 0 is the finest.
        label_rows: rows of the label embedding; 0 is a net without labels.
        heads: of every attention, if head_channels is 0; otherwise it does not count.
        head_channels: channels of each head; 0: as many heads as `heads` says.
        conditioning: add or scale-shift.
        time_features: sinusoid or vaswani.
        downsample_padding: asymmetric or symmetric.
        norm_eps: epsilon of every norm.
        dropout: in the residual blocks, while training.
    """

    image_size: tuple[int, int]
    in_channels: int
    out_channels: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    label_rows: int
    heads: int
    head_channels: int
    conditioning: str
    time_features: str
    downsample_padding: str
    norm_eps: float
    dropout: float

    @property
    def resolutions(self) -> list[int]:
        """The heights at which it attends, as `model.attention` has it."""
        return [self.image_size[0] >> level for level in self.attention]


@dataclass(frozen=True)
class Shape:
    """What the shapes of the weights tell; the image size and what has no weights they do not."""

    in_channels: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]

    def plain(
        self, image_size: int, time_features: str, downsample_padding: str, norm_eps: float, dropout: float
    ) -> Layout:
        """The net of this shape for square images, with one head, an added embedding, and no labels."""
        return Layout(
            image_size=(image_size, image_size),
            in_channels=self.in_channels,
            out_channels=self.in_channels,
            channels=self.channels,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            label_rows=0,
            heads=1,
            head_channels=0,
            conditioning="add",
            time_features=time_features,
            downsample_padding=downsample_padding,
            norm_eps=norm_eps,
            dropout=dropout,
        )


def shape_of(weights: Mapping[str, Tensor], place: str) -> Shape:
    """Read widths, depth and attention from weights under our names.

    Raises:
        ValueError: they are not those of a U-Net.
    """
    if "conv_in.weight" not in weights or "down.0.blocks.0.conv_1.weight" not in weights:
        raise ValueError(f"{place}: must hold a U-Net of at least one level, got another net; name another file")
    channels, in_channels = weights["conv_in.weight"].shape[:2]
    levels = 1 + max(number(name, 1) for name in weights if name.startswith("down."))
    first = [f"down.{level}.blocks.0.conv_1.weight" for level in range(levels)]
    if missing := [name for name in first if name not in weights]:
        raise ValueError(f"{place}: must hold every level of the U-Net, got none for {missing[0]}; fetch it again")
    widths = [len(weights[name]) for name in first]
    if odd := [width for width in widths if width % channels]:
        raise ValueError(f"{place}: widths must be multiples of the first, {channels}, got {odd[0]}; no such net here")
    attending = {number(name, 1) for name in weights if name.startswith("down.") and ".attentions." in name}
    return Shape(
        in_channels=in_channels,
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=1 + max(number(name, 3) for name in weights if name.startswith("down.0.blocks.")),
        attention=tuple(sorted(attending)),
    )


def number(name: str, position: int) -> int:
    """The number at a place of a dotted name."""
    return int(name.split(".")[position])


def as_linear(weight: Tensor) -> Tensor:
    """A 1x1 convolution's kernel (out, in, 1, 1) as the matrix of a linear map; anything else as it is."""
    return weight.flatten(1) if weight.ndim == 4 and weight.shape[2:] == (1, 1) else weight


def swap_halves(columns: Tensor) -> Tensor:
    """Columns that wait for [cos, sin] wait for [sin, cos] afterwards, and the other way round."""
    first, second = columns.chunk(2, dim=1)
    return torch.cat([second, first], dim=1)


def separate_pairs(columns: Tensor) -> Tensor:
    """Columns that wait for sin, cos, sin, cos, ... wait for all sines and then all cosines afterwards."""
    return torch.cat([columns[:, 0::2], columns[:, 1::2]], dim=1)
