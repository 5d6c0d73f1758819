"""What a U-Net can be built from; a refusal names the rule, the value and a way out."""

from collections.abc import Sequence

from ddpm.nets.blocks import NORM_GROUPS


def check_shape(
    in_channels: int,
    image_size: int,
    channels: int,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    heads: int,
    num_classes: int,
) -> None:
    """Refuse numbers of which no U-Net can be built.

    Raises:
        ValueError: a count is below 1, `image_size` cannot be halved often enough, the widths do not divide into norm
            groups or heads, or a resolution of `attention` is none of the net's.
    """
    counts = {"in_channels": in_channels, "image_size": image_size, "channels": channels, "blocks": blocks}
    counts["heads"] = heads
    counts |= {f"multipliers[{level}]": multiplier for level, multiplier in enumerate(multipliers)}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"UNet: {name} must be at least 1, got {value}; choose a positive number")
    if num_classes < 0:
        raise ValueError(f"UNet: num_classes must not be negative, got {num_classes}; 0 is a net without labels")
    if not multipliers:
        raise ValueError("UNet: multipliers must name at least one level, got none; [1] is a net of one resolution")
    factor = 2 ** (len(multipliers) - 1)
    if image_size % factor != 0:
        above = (image_size // factor + 1) * factor
        rule = f"image_size must be divisible by {factor}, for {len(multipliers)} levels"
        raise ValueError(f"UNet: {rule}, got {image_size}; choose {above}, or fewer multipliers")
    if channels % NORM_GROUPS != 0:
        above = (channels // NORM_GROUPS + 1) * NORM_GROUPS
        rule = f"channels must be divisible by {NORM_GROUPS}, the number of norm groups"
        raise ValueError(f"UNet: {rule}, got {channels}; choose {above}")
    sizes = [image_size >> level for level in range(len(multipliers))]
    for size in attention:
        if size not in sizes:
            raise ValueError(f"UNet: attention must be at resolutions of the levels, got {size}; choose from {sizes}")
    # The middle attends at the last width, whatever `attention` says.
    widths = {channels * multipliers[sizes.index(size)] for size in attention} | {channels * multipliers[-1]}
    for width in sorted(widths):
        if width % heads != 0:
            raise ValueError(f"UNet: heads must divide {width}, the width of an attention, got {heads}; 1 always does")
