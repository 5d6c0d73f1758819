"""What a U-Net can be built from; a refusal names the rule, the value and a way out."""

from collections.abc import Sequence
from typing import get_args

from ddpm.nets.options import (
    NORM_GROUPS,
    Conditioning,
    DownsamplePadding,
    Options,
    Padding,
    Resample,
    Stem,
    TimeFeatures,
)

CHOICES = {
    "conditioning": get_args(Conditioning),
    "resample": get_args(Resample),
    "time_features": get_args(TimeFeatures),
    "stem": get_args(Stem),
    "padding": get_args(Padding),
    "downsample_padding": get_args(DownsamplePadding),
}
"""The options with a list of values."""


def check_shape(
    in_channels: int,
    image_size: tuple[int, int],
    channels: int,
    multipliers: Sequence[int],
    blocks: int,
    num_classes: int,
) -> None:
    """Refuse numbers of which no U-Net can be built.

    Raises:
        ValueError: a count is below 1, height or width cannot be halved often enough, or the widths do not divide into
            norm groups.
    """
    counts = {"in_channels": in_channels, "image_size": min(image_size), "channels": channels, "blocks": blocks}
    counts |= {f"multipliers[{level}]": multiplier for level, multiplier in enumerate(multipliers)}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"UNet: {name} must be at least 1, got {value}; choose a positive number")
    if num_classes < 0:
        raise ValueError(f"UNet: num_classes must not be negative, got {num_classes}; 0 is a net without labels")
    if not multipliers:
        raise ValueError("UNet: multipliers must name at least one level, got none; [1] is a net of one resolution")
    factor = 2 ** (len(multipliers) - 1)
    for side in image_size:
        if side % factor != 0:
            above = (side // factor + 1) * factor
            rule = f"image_size must be divisible by {factor}, to be halved between {len(multipliers)} levels"
            raise ValueError(f"UNet: {rule}, got {side}; choose {above}, or fewer multipliers")
    if channels % NORM_GROUPS != 0:
        above = (channels // NORM_GROUPS + 1) * NORM_GROUPS
        rule = f"channels must be divisible by {NORM_GROUPS}, the number of norm groups"
        raise ValueError(f"UNet: {rule}, got {channels}; choose {above}")


def check_options(options: Options, image_size: tuple[int, int]) -> None:
    """Refuse options without a meaning.

    Raises:
        ValueError: a choice is not on its list, a number is out of range, or the stem reaches around the whole image.
    """
    for name, choices in CHOICES.items():
        value = getattr(options, name)
        if value not in choices:
            raise ValueError(f"UNet: {name} must be one of {', '.join(map(str, choices))}, got {value}; choose one")
    if not options.norm_eps > 0:
        raise ValueError(f"UNet: norm_eps must be positive, got {options.norm_eps}; Ho et al. (2020) have 1e-6")
    if options.head_channels < 0:
        raise ValueError(f"UNet: head_channels must not be negative, got {options.head_channels}; 0 counts heads")
    if options.padding == "circular" and min(image_size) < options.stem // 2:
        rule = f"image_size must be at least {options.stem // 2} for a circular stem of {options.stem}"
        raise ValueError(f"UNet: {rule}, got {min(image_size)}; choose stem 3")


def check_attention(
    height: int, channels: int, multipliers: Sequence[int], attention: Sequence[int], heads: int, options: Options
) -> None:
    """Refuse attention where there is nothing to attend to, or that cannot be split into heads.

    Raises:
        ValueError: a resolution is none of the net's or has both kinds of attention, or a width does not divide.
    """
    if heads < 1:
        raise ValueError(f"UNet: heads must be at least 1, got {heads}; choose a positive number")
    sizes = [height >> level for level in range(len(multipliers))]
    for name, listed in (("attention", attention), ("linear_attention", options.linear_attention)):
        for size in listed:
            if size not in sizes:
                raise ValueError(f"UNet: {name} must be at resolutions of the levels, got {size}; choose from {sizes}")
    for size in attention:
        if size in options.linear_attention:
            rule = "linear_attention must not be where attention is"
            raise ValueError(f"UNet: {rule}, got {size} in both; take it out of one")
    attended = [*attention, *options.linear_attention, sizes[-1]]  # the middle attends at the last width in any case
    for width in sorted({channels * multipliers[sizes.index(size)] for size in attended}):
        name, value = ("head_channels", options.head_channels) if options.head_channels else ("heads", heads)
        if width % value != 0:
            way_out = "32 always does" if options.head_channels else "1 always does"
            raise ValueError(f"UNet: {name} must divide {width}, the width of an attention, got {value}; {way_out}")
