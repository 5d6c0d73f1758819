"""Checkpoints of the GitHub repository KimRass/DDPM, as of late 2023: `epoch=...pth` and `ckpt.pth`.

The net of Ho et al. (2020) with the frequencies of Vaswani et al. (2017), sine and cosine taking turns, downsampling
padded on all sides, norms with epsilon 1e-5, and attention at a level, not at a resolution. Betas linear from 1e-4 to
0.02 in 1000 steps; x0 is not clipped while sampling, and the variance is beta_t.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ddpm.interop.files import Weights, as_weights, some
from ddpm.interop.layout import Layout, as_linear, number, separate_pairs, shape_of

TABLE = "time_embedding.timembedding.0.weight"
"""Their table of sinusoids, a constant; the name by which such a net is known."""
LINEAR_1 = "time_embedding.linear_1.weight"

DROPOUT = 0.1
MAX_PERIOD = 10_000.0

BLOCK = {
    "block1.0": "norm_1",
    "block1.2": "conv_1",
    "temb_proj.1": "time_projection",
    "block2.0": "norm_2",
    "block2.3": "conv_2",
    "shortcut": "shortcut",
}
ATTENTION = {
    "attn.group_norm": "norm",
    "attn.proj_q": "query",
    "attn.proj_k": "key",
    "attn.proj_v": "value",
    "attn.proj": "projection",
}
SINGLE = {
    "time_embedding.timembedding.1": "time_embedding.linear_1",
    "time_embedding.timembedding.3": "time_embedding.linear_2",
    "head": "conv_in",
    "tail.0": "norm_out",
    "tail.2": "conv_out",
}

SAMPLING = {
    "sampler": "ddpm",
    "steps": 1000,
    "spacing": "trailing",
    "variance": "fixed_large",
    "clip_x0": False,
    "dynamic_threshold": 0.0,
}


def choose_weights(content: object, place: str) -> Weights:
    """The state dict of a file: itself, or under `model` of a training state.

    Raises:
        ValueError: no state dict.
    """
    nested = isinstance(content, Mapping) and isinstance(content.get("model"), Mapping)
    return as_weights(content["model"] if nested and isinstance(content, Mapping) else content, place)


def rename(weights: Weights, place: str) -> Weights:
    """Their names, shapes and order of sines -> ours.

    Raises:
        ValueError: names that are not of such a net, or another table of sinusoids.
    """
    _require_sinusoids(weights, place)
    places = _places(weights)
    ours = {name: _our_name(name, places) for name in weights if name != TABLE}
    if unknown := [name for name, found in ours.items() if found is None]:
        raise ValueError(f"{place}: must hold one U-Net of KimRass/DDPM, got unknown {some(unknown)}")
    found = {str(our): as_linear(weights[name]) if ".attn." in name else weights[name] for name, our in ours.items()}
    if LINEAR_1 in found:
        found[LINEAR_1] = separate_pairs(found[LINEAR_1])
    return found


def layout_of(weights: Weights, image_size: int | None, place: str) -> Layout:
    """The net, from the shapes of its renamed weights.

    Raises:
        ValueError: no image size is given: their nets of all sizes have the same weights.
    """
    if image_size is None:
        raise ValueError(f"{place}: --image-size must be given, got none; nets of all sizes look alike in this format")
    return shape_of(weights, place).plain(image_size, "vaswani", "symmetric", norm_eps=1e-5, dropout=DROPOUT)


def _require_sinusoids(weights: Weights, place: str) -> None:
    table = weights.get(TABLE)
    if table is None or table.ndim != 2:
        raise ValueError(f"{place}: must hold the table {TABLE} of sinusoids, got none; name another --format")
    if table.shape != (1000, 2 * (table.shape[1] // 2)) or (table - _sinusoids(*table.shape)).abs().max() > 1e-3:
        rule = "must be the sinusoids of 1000 steps, sine and cosine taking turns"
        raise ValueError(f"{place}: {TABLE} {rule}, got other numbers; this net has no counterpart here")


def _sinusoids(steps: int, width: int) -> Tensor:
    """[sin(t f_0), cos(t f_0), sin(t f_1), ...], f_i = 10000^(-2 i / width) (Vaswani et al. 2017, sec. 3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(MAX_PERIOD) / width))
    angle = torch.arange(steps)[:, None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def _places(weights: Weights) -> dict[str, str]:
    """Their place in the flat lists `downblocks` and `upblocks` -> the level, and the block or the change of size.

    An entry with a convolution `main` of its own changes the resolution and ends its level.
    """
    found = {}
    for theirs, ours, change in (("downblocks", "down", "downsample"), ("upblocks", "up", "upsample")):
        level = block = 0
        for i in sorted({number(name, 1) for name in weights if re.match(rf"{theirs}\.\d+\.", name)}):
            if f"{theirs}.{i}.main.weight" in weights:
                found[f"{theirs}.{i}"] = f"{ours}.{level}.{change}"
                level, block = level + 1, 0
            else:
                found[f"{theirs}.{i}"] = f"{ours}.{level}.*.{block}"
                block += 1
    return found


def _our_name(name: str, places: Mapping[str, str]) -> str | None:
    """Our name of a weight, or None."""
    module, _, kind = name.rpartition(".")
    if module in SINGLE:
        return f"{SINGLE[module]}.{kind}"
    found = re.fullmatch(r"(downblocks|upblocks|middleblocks)\.(\d+)\.(.+)", module)
    if found is None:
        return None
    where, part = places.get(f"{found[1]}.{found[2]}"), found[3]
    if found[1] == "middleblocks":
        if part in ATTENTION:
            return f"middle_attention.{ATTENTION[part]}.{kind}" if found[2] == "0" else None
        return f"middle_block_{int(found[2]) + 1}.{BLOCK[part]}.{kind}" if part in BLOCK else None
    if where is None:
        return None
    if "*" not in where:
        return f"{where}.conv.{kind}" if part == "main" else None
    if part in ATTENTION:
        return f"{where.replace('*', 'attentions')}.{ATTENTION[part]}.{kind}"
    return f"{where.replace('*', 'blocks')}.{BLOCK[part]}.{kind}" if part in BLOCK else None
