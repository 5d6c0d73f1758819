"""The configuration of a `UNet2DModel` of diffusers: every setting on which its output hangs is checked."""

from collections.abc import Mapping
from typing import Any

from ddpm.interop.layout import Layout

GROUPS = 32
"""Groups of every norm here."""

DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": GROUPS,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
"""What `UNet2DModel` takes where its config.json is silent (diffusers 0.35 to 0.42); other keys are unknown."""

ALLOWED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "freq_shift": (0, 1),
    "flip_sin_to_cos": (False, True),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "norm_num_groups": (GROUPS,),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
"""Settings that must have one of these values, because nothing else can be expressed here."""

FREQUENCIES = {1: "sinusoid", 0: "vaswani"}
PADDINGS = {0: "asymmetric", 1: "symmetric"}
CONDITIONINGS = {"default": "add", "scale_shift": "scale-shift"}
DOWN, UP = ("DownBlock2D", "AttnDownBlock2D"), ("UpBlock2D", "AttnUpBlock2D")


def complete(config: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The settings with the silent ones filled in.

    Raises:
        ValueError: another class, an unknown setting, or a value that our net cannot have; the first one is named.
    """
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise ValueError(f"{place}: _class_name must be UNet2DModel, got {kind}; only pixel nets can be imported")
    given = {key: value for key, value in config.items() if not key.startswith("_")}
    if unknown := sorted(given.keys() - DEFAULTS.keys()):
        raise ValueError(f"{place}: must hold settings of UNet2DModel only, got {unknown[0]}; remove it if it is idle")
    settings = DEFAULTS | given
    for key, allowed in ALLOWED.items():
        if settings[key] not in allowed:
            _refuse(place, key, " or ".join(map(str, allowed)), settings[key])
    return settings


def layout_from(config: Mapping[str, Any], image_size: int | None, place: str) -> Layout:
    """The net that a config.json describes.

    Args:
        config: the content of config.json.
        image_size: the side of square images, as the user says; needed where the file is silent.
        place: the file, for messages.

    Raises:
        ValueError: what `complete` refuses, or settings that do not fit together.
    """
    settings = complete(config, place)
    widths = list(settings["block_out_channels"])
    if not widths or any(width % widths[0] for width in widths):
        _refuse(place, "block_out_channels", "multiples of the first width", widths)
    if settings["time_embedding_dim"] not in (None, 4 * widths[0]):
        _refuse(place, "time_embedding_dim", f"null or {4 * widths[0]}", settings["time_embedding_dim"])
    scale_shift = settings["resnet_time_scale_shift"] == "scale_shift"
    # With scale_shift and no number, diffusers leaves out the norm before the attention in the middle.
    if settings["attn_norm_num_groups"] not in ((GROUPS,) if scale_shift else (None, GROUPS)):
        _refuse(place, "attn_norm_num_groups", str(GROUPS), settings["attn_norm_num_groups"])
    head = settings["attention_head_dim"]
    return Layout(
        image_size=_image_size(settings["sample_size"], image_size, place),
        in_channels=settings["in_channels"],
        out_channels=settings["out_channels"],
        channels=widths[0],
        multipliers=tuple(width // widths[0] for width in widths),
        blocks=settings["layers_per_block"],
        attention=_attention(settings, place),
        label_rows=settings["num_class_embeds"] or 0,
        heads=1,
        head_channels=head or 0,
        conditioning=CONDITIONINGS[settings["resnet_time_scale_shift"]],
        time_features=FREQUENCIES[settings["freq_shift"]],
        downsample_padding=PADDINGS[settings["downsample_padding"]],
        norm_eps=float(settings["norm_eps"]),
        dropout=float(settings["dropout"]),
    )


def config_from(layout: Layout) -> dict[str, Any]:
    """The config.json of a net; the inverse of `layout_from`.

    Raises:
        ValueError: heads that diffusers cannot express: it knows one size of head for the whole net.
    """
    levels = range(len(layout.multipliers))
    attends = [level in layout.attention for level in levels]
    widths = [layout.channels * multiplier for multiplier in layout.multipliers]
    height, width = layout.image_size
    return DEFAULTS | {
        "sample_size": height if height == width else [height, width],
        "in_channels": layout.in_channels,
        "out_channels": layout.out_channels,
        "freq_shift": _key_of(FREQUENCIES, layout.time_features),
        "flip_sin_to_cos": False,
        "down_block_types": [DOWN[attends[level]] for level in levels],
        "up_block_types": [UP[attends[level]] for level in reversed(levels)],
        "block_out_channels": widths,
        "layers_per_block": layout.blocks,
        "downsample_padding": _key_of(PADDINGS, layout.downsample_padding),
        "dropout": layout.dropout,
        "attention_head_dim": _head_dim(layout, {widths[-1], *(widths[level] for level in layout.attention)}),
        "attn_norm_num_groups": GROUPS if layout.conditioning == "scale-shift" else None,
        "norm_eps": layout.norm_eps,
        "resnet_time_scale_shift": _key_of(CONDITIONINGS, layout.conditioning),
        "num_class_embeds": layout.label_rows or None,
    }


def _head_dim(layout: Layout, widths: set[int]) -> int | None:
    if layout.head_channels:
        return layout.head_channels
    if layout.heads == 1:
        return None
    if len(widths) > 1:
        rule = "must be 1 to be exported where attention has several widths (or give head_channels)"
        raise ValueError(f"model.heads {rule}, got {layout.heads} heads for {sorted(widths)} channels")
    return widths.pop() // layout.heads


def _attention(settings: Mapping[str, Any], place: str) -> tuple[int, ...]:
    down = [str(kind).removeprefix("UNetRes") for kind in settings["down_block_types"]]  # the prefix is of 2022
    up = [str(kind).removeprefix("UNetRes") for kind in settings["up_block_types"]]
    for key, kinds, known in (("down_block_types", down, DOWN), ("up_block_types", up, UP)):
        for kind in kinds:
            if kind not in known:
                _refuse(place, key, " or ".join(known), kind)
        if len(kinds) != len(settings["block_out_channels"]):
            _refuse(place, key, f"one for each of {len(settings['block_out_channels'])} block_out_channels", kinds)
    levels = tuple(level for level, kind in enumerate(down) if kind == DOWN[1])
    if levels != tuple(level for level, kind in enumerate(reversed(up)) if kind == UP[1]):
        _refuse(place, "up_block_types", "the mirror image of down_block_types", up)
    return levels


def _image_size(found: Any, given: int | None, place: str) -> tuple[int, int]:
    """Height and width; a file has one number for both, or both."""
    size = given if found is None else found
    if size is None:
        raise ValueError(f"{place}: sample_size must be given, got null; say it with --image-size")
    sides = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        _refuse(place, "sample_size", "a number, or height and width", found)
    if given is not None and sides != [given, given]:
        raise ValueError(f"--image-size must be {size} as {place} says, got {given}; leave it out")
    return sides[0], sides[1]


def _key_of(table: Mapping[Any, str], value: str) -> Any:
    return next(key for key, each in table.items() if each == value)


def _refuse(place: str, key: str, allowed: str, value: Any) -> None:
    raise ValueError(f"{place}: {key} must be {allowed} to be imported, got {value}; this net has no counterpart here")
