"""Checkpoints of the DDIM authors' code (Song et al. 2021): `ckpt.pth`, and the state dict of such a net alone.

The net is that of Ho et al. (2020), unchanged: sinusoids [sin, cos] over half - 1, norms with epsilon 1e-6,
downsampling padded on the right and below. Their attention is made of 1x1 convolutions, and `up` counts from the
finest level. The published nets: betas linear from 1e-4 to 0.02 in 1000 steps.
"""

import re
from collections.abc import Mapping

from ddpm.interop.files import Weights, as_weights, some
from ddpm.interop.layout import Layout, as_linear, number, shape_of

MARK = "temb.dense.0.weight"
"""A name by which such a net is known."""

PUBLISHED_ATTENTION = 16
"""The resolution at which every published net of theirs attends."""
PUBLISHED_DROPOUT = 0.1

BLOCK = {
    "norm1": "norm_1",
    "conv1": "conv_1",
    "temb_proj": "time_projection",
    "norm2": "norm_2",
    "conv2": "conv_2",
    "nin_shortcut": "shortcut",
}
ATTENTION = {"norm": "norm", "q": "query", "k": "key", "v": "value", "proj_out": "projection"}

SAMPLING = {
    "sampler": "ddim",
    "steps": 100,
    "spacing": "uniform",
    "eta": 0.0,
    "clip_x0": False,
    "dynamic_threshold": 0.0,
}
"""Their `--sample_type generalized --skip_type uniform`; they clip in `ddpm_noisy` only."""


def choose_weights(content: object, which: str, place: str) -> Weights:
    """One of the two sets of weights in a checkpoint: `ema`, what they sample from, or `model`.

    Args:
        content: the list [model, optimizer, epoch, step, shadow], or a bare state dict, which is the only choice.
        which: ema or model.
        place: the file, for messages.

    Raises:
        ValueError: no such weights in the file.
    """
    if isinstance(content, Mapping):
        return as_weights(content, place)
    if not isinstance(content, list | tuple) or not content:
        raise ValueError(f"{place}: must hold [model, optimizer, epoch, step, ema], got {type(content).__name__}")
    if which == "model":
        return as_weights(content[0], f"{place}: model")
    if len(content) < 5:
        rule = "must hold [model, optimizer, epoch, step, ema] to import the EMA"
        raise ValueError(f"{place}: {rule}, got {len(content)} items; take --weights model")
    return as_weights(content[4], f"{place}: ema")


def rename(weights: Weights, place: str) -> Weights:
    """Their names and shapes -> ours.

    Raises:
        ValueError: names that are not of such a net.
    """
    deepest = max((number(name, 1) for name in weights if re.match(r"up\.\d+\.", name)), default=0)
    ours = {name: _our_name(name, deepest) for name in weights}
    if unknown := [name for name, found in ours.items() if found is None]:
        raise ValueError(f"{place}: must hold one U-Net of the DDIM authors' code, got unknown {some(unknown)}")
    attention = re.compile(r"attn")
    return {
        str(ours[name]): as_linear(tensor) if attention.search(name) else tensor for name, tensor in weights.items()
    }


def layout_of(weights: Weights, image_size: int | None, place: str) -> Layout:
    """The net, from the shapes of its renamed weights.

    Args:
        weights: under our names.
        image_size: None: such that it attends at 16x16, as all of their published nets do.
        place: the file, for messages.

    Raises:
        ValueError: the image size does not follow from the weights.
    """
    shape = shape_of(weights, place)
    if image_size is None:
        if len(shape.attention) != 1:
            rule = "must attend at one level for the image size to follow (at 16x16)"
            raise ValueError(f"{place}: {rule}, got {len(shape.attention)}; say it with --image-size")
        image_size = PUBLISHED_ATTENTION << shape.attention[0]
    return shape.plain(image_size, "sinusoid", "asymmetric", norm_eps=1e-6, dropout=PUBLISHED_DROPOUT)


def _our_name(name: str, deepest: int) -> str | None:
    """Our name of a weight, or None."""
    module, _, kind = name.rpartition(".")
    if module in {"conv_in", "conv_out", "norm_out"}:
        return name
    if found := re.fullmatch(r"temb\.dense\.([01])", module):
        return f"time_embedding.linear_{int(found[1]) + 1}.{kind}"
    if found := re.fullmatch(r"mid\.block_([12])\.(\w+)", module):
        return f"middle_block_{found[1]}.{BLOCK[found[2]]}.{kind}" if found[2] in BLOCK else None
    if found := re.fullmatch(r"mid\.attn_1\.(\w+)", module):
        return f"middle_attention.{ATTENTION[found[1]]}.{kind}" if found[1] in ATTENTION else None
    if found := re.fullmatch(r"(down|up)\.(\d+)\.(downsample|upsample)\.conv", module):
        return f"{found[1]}.{_level(found, deepest)}.{found[3]}.conv.{kind}"
    if found := re.fullmatch(r"(down|up)\.(\d+)\.block\.(\d+)\.(\w+)", module):
        part = BLOCK.get(found[4])
        return f"{found[1]}.{_level(found, deepest)}.blocks.{found[3]}.{part}.{kind}" if part else None
    if found := re.fullmatch(r"(down|up)\.(\d+)\.attn\.(\d+)\.(\w+)", module):
        part = ATTENTION.get(found[4])
        return f"{found[1]}.{_level(found, deepest)}.attentions.{found[3]}.{part}.{kind}" if part else None
    return None


def _level(found: "re.Match[str]", deepest: int) -> int:
    """Ours count `up` from the deepest level, theirs from the finest."""
    return int(found[2]) if found[1] == "down" else deepest - int(found[2])
