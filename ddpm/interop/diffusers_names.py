"""The names of weights in a `UNet2DModel` of diffusers, today's and those of 2022."""

import re
from collections.abc import Iterable

from ddpm.interop.files import Weights
from ddpm.interop.layout import as_linear

BLOCK = {
    "norm_1": "norm1",
    "conv_1": "conv1",
    "time_projection": "time_emb_proj",
    "norm_2": "norm2",
    "conv_2": "conv2",
    "shortcut": "conv_shortcut",
}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "projection": "to_out.0"}
NAMES_OF_2022 = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Attention in files of 2022 -> its names today."""

PLACES = {
    r"down\.(\d+)\.blocks\.(\d+)\.": r"down_blocks.\1.resnets.\2.",
    r"down\.(\d+)\.attentions\.(\d+)\.": r"down_blocks.\1.attentions.\2.",
    r"down\.(\d+)\.downsample\.": r"down_blocks.\1.downsamplers.0.",
    r"middle_block_1\.": r"mid_block.resnets.0.",
    r"middle_block_2\.": r"mid_block.resnets.1.",
    r"middle_attention\.": r"mid_block.attentions.0.",
    r"up\.(\d+)\.blocks\.(\d+)\.": r"up_blocks.\1.resnets.\2.",
    r"up\.(\d+)\.attentions\.(\d+)\.": r"up_blocks.\1.attentions.\2.",
    r"up\.(\d+)\.upsample\.": r"up_blocks.\1.upsamplers.0.",
    r"label_embedding\.": r"class_embedding.",
    r"norm_out\.": r"conv_norm_out.",
}
"""Our place -> theirs; conv_in, conv_out, time_embedding are called the same, and both count `up` from the deepest."""


def to_diffusers(name: str) -> str:
    """Our name of a weight -> theirs, one to one."""
    for ours, theirs in PLACES.items():
        place, found = re.subn(f"^{ours}", theirs, name)
        if found:
            parts = BLOCK if ".resnets." in place else ATTENTION if ".attentions." in place else {}
            module, _, kind = place.rpartition(".")
            head, dot, last = module.rpartition(".")
            return f"{head}{dot}{parts.get(last, last)}.{kind}"
    return name


def names(ours: Iterable[str]) -> dict[str, str]:
    """Their name -> ours."""
    return {to_diffusers(name): name for name in ours}


def modern(weights: Weights) -> Weights:
    """Weights of a file of 2022 under the names of today; those of today unchanged.

    Attention was called query, key, value, proj_attn, and in the oldest files it was 1x1 convolutions.
    """
    found: Weights = {}
    for name, tensor in weights.items():
        if ".attentions." not in name:
            found[name] = tensor
            continue
        module, _, kind = name.rpartition(".")
        head, _, last = module.rpartition(".")
        part = NAMES_OF_2022.get(last, last)
        found[f"{head}.{part}.{kind}"] = as_linear(tensor)
    return found
