"""Where our checkpoints become folders of diffusers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.interop import RECORD
from ddpm.engine.sections import betas, chain_of, layout_of, record_of
from ddpm.experiment.params import SampleParams
from ddpm.experiment.workspace import write_bytes, write_json
from ddpm.interop import diffusers_scheduler, diffusers_unet
from ddpm.interop.diffusers_names import to_diffusers

VERSION = {"_diffusers_version": "0.35.0"}
"""The oldest version whose settings were compared with ours."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
SAMPLING = ("variance", "clip_x0", "dynamic_threshold", "spacing")

EXPRESSIBLE: dict[str, tuple[Any, ...]] = {
    "model.linear_attention": ([],),
    "model.resample": ("conv",),
    "model.rescale_residuals": (False,),
    "model.attention_norm": (True,),
    "model.stem_norm": (False,),
    "model.time_features": ("sinusoid", "vaswani"),
    "model.stem": (3,),
    "model.padding": ("zeros",),
    "objective.self_condition": (False,),
}
"""What a `UNet2DModel` can be; all other parameters of a checkpoint have a setting there, or no effect on the net."""


def export_diffusers(checkpoint: Checkpoint, sample: SampleParams, out: Path) -> list[str]:
    """Write a folder that `DDPMPipeline.from_pretrained` loads; a net with labels has no such pipeline.

    The weights carry all sections of the checkpoint as metadata, so that importing them again gives the same.

    Args:
        checkpoint: the net and its process.
        sample: gives variance, threshold and spacing of their `DDPMScheduler`.
        out: the folder; files of the same names are replaced, each atomically, the index last.

    Returns:
        What the user should know, one line each.

    Raises:
        ValueError: something that diffusers cannot express; nothing is written then.
    """
    config, scheduler = describe(checkpoint, sample)
    index = out / "model_index.json"
    if checkpoint.model.num_classes and index.exists():
        raise ValueError(f"{index}: must not stand beside a net with labels (it has no pipeline); choose another --out")
    weights = {to_diffusers(name): tensor.detach().cpu().contiguous() for name, tensor in checkpoint.weights.items()}
    metadata = {"format": "pt", RECORD: record_of(checkpoint)}
    write_bytes(out / "unet" / WEIGHTS, _ordered(save(dict(sorted(weights.items())), metadata=metadata)))
    write_json(out / "unet" / "config.json", config)
    write_json(out / "scheduler" / "scheduler_config.json", scheduler)
    notes = []
    if diffusers_scheduler.ends_in_noise(scheduler):
        notes.append(f"{diffusers_scheduler.NOISY_END}; -S sample.spacing=uniform agrees")
    if checkpoint.objective.variance == "learned":
        notes.append("variance_type is learned_range, as the net has it, whatever sample.variance says")
    if checkpoint.model.num_classes:
        null = checkpoint.model.num_classes
        notes.append(
            f"DDPMPipeline knows no labels, so there is no model_index.json: load `unet` as UNet2DModel, {null + 1}"
        )
        notes[-1] += f" class embeddings, {null} is the null label"
    else:
        parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
        write_json(index, {"_class_name": "DDPMPipeline", **VERSION, **parts})
    return notes


def _ordered(content: bytes) -> bytes:
    """A safetensors file with its metadata in order: safetensors writes several keys in any order, run by run.

    The file is the length of its header in 8 bytes, the header in JSON, padded to 8 bytes, and the numbers.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def describe(checkpoint: Checkpoint, sample: SampleParams) -> tuple[dict[str, Any], dict[str, Any]]:
    """Their config.json and scheduler_config.json.

    Raises:
        ValueError: something that diffusers cannot express.
    """
    for parameter, allowed in EXPRESSIBLE.items():
        section, name = parameter.split(".")
        value = getattr(getattr(checkpoint, section), name)
        if value not in allowed:
            expressible = " or ".join(map(json.dumps, allowed))
            raise ValueError(
                f"{parameter} must be {expressible} to be exported, got {json.dumps(value)}: no counterpart"
            )
    layout, chain = layout_of(checkpoint), chain_of(checkpoint.schedule, checkpoint.objective)
    sampling: Mapping[str, Any] = {name: getattr(sample, name) for name in SAMPLING}
    config = diffusers_unet.config_from(layout) | {"_class_name": "UNet2DModel"} | VERSION
    return config, diffusers_scheduler.config_from(chain, sampling, betas) | VERSION
