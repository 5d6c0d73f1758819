"""Where foreign formats become checkpoints of ours: weights under our names, and all four sections complete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.sections import PUBLISHED, assemble, betas, chain_of, expected_weights, recorded
from ddpm.experiment.params import Params
from ddpm.interop import ddim_authors, diffusers_scheduler, diffusers_unet, kimrass
from ddpm.interop.diffusers_names import modern, to_diffusers
from ddpm.interop.files import Weights, as_weights, read_json, read_safetensors, read_torch, require_same
from ddpm.interop.layout import Layout, swap_halves

FORMATS = ("diffusers", "ddim", "kimrass")
RECORD = "ddpm"
"""Metadata of an exported file: the sections of the checkpoint it was made from."""
LINEAR_1 = "time_embedding.linear_1.weight"
LABELS = "class_embedding.weight"


@dataclass(frozen=True)
class Imported:
    """A foreign checkpoint as one of ours.

    Attributes:
        sampling: the parameters of `sample` that draw as the other system does; missing ones are free.
        notes: what the user should know, one line each.
    """

    checkpoint: Checkpoint
    format: str
    sampling: Mapping[str, Any]
    notes: Sequence[str]


def import_checkpoint(source: Path, kind: str, which: str, image_size: int | None, params: Params) -> Imported:
    """Read a checkpoint of another system.

    Args:
        source: a folder of diffusers, or a file of torch.save.
        kind: one of `FORMATS`, or auto: recognized by what is there.
        which: ema or model, where a file holds both.
        image_size: of square images; None where the source tells.
        params: give what no source tells: where the data come from.

    Raises:
        ValueError: missing, damaged, unknown, or nothing that can be expressed here; one line.
    """
    if source.is_dir() if kind == "auto" else kind == "diffusers":
        return import_diffusers(source, image_size, params)
    if source.suffix == ".safetensors" or source.name == "diffusion_pytorch_model.bin":
        raise ValueError(f"{source}: a net of diffusers must be named by its folder, got a file; name {source.parent}")
    place, content = str(source), read_torch(source)
    if kind == "auto":
        kind = _recognize(content, place)
    if kind == "ddim":
        found = ddim_authors.rename(ddim_authors.choose_weights(content, which, place), place)
        layout, sampling = ddim_authors.layout_of(found, image_size, place), ddim_authors.SAMPLING
    else:
        found = kimrass.rename(kimrass.choose_weights(content, place), place)
        layout, sampling = kimrass.layout_of(found, image_size, place), kimrass.SAMPLING
    notes = [f"image size {layout.image_size[0]}, schedule linear 0.0001 to 0.02 in 1000 steps: as published, not read"]
    return Imported(assemble(found, layout, PUBLISHED, params, place), kind, sampling, notes)


def import_diffusers(source: Path, image_size: int | None, params: Params) -> Imported:
    """Read a pipeline's folder of diffusers, with or without its subfolders, or the folder of its net alone."""
    if not source.is_dir():
        raise ValueError(
            f"{source}: must be a folder of diffusers (model_index.json or config.json), got a file or none"
        )
    unet = source / "unet" if (source / "unet").is_dir() else source
    place, config = str(unet / "config.json"), read_json(unet / "config.json")
    layout = diffusers_unet.layout_from(config, image_size, place)
    weights, metadata = _diffusers_weights(unet)
    files = (source / "scheduler" / "scheduler_config.json", source / "scheduler_config.json")
    schedulers = [path for path in files if path.is_file()]
    notes: list[str] = []
    sampling: dict[str, Any] = {}
    if schedulers:
        scheduler = read_json(schedulers[0])
        chain = diffusers_scheduler.chain_from(scheduler, betas, str(schedulers[0]))
        sampling, notes = diffusers_scheduler.sampling_from(scheduler)
    else:
        chain = chain_of(params.schedule, params.objective)
        notes.append(f"{source}: no scheduler_config.json, so schedule and objective.target are those of params.yaml")
    if RECORD in metadata:
        checkpoint = recorded(metadata[RECORD], layout, chain, str(unet))
    else:
        checkpoint = assemble({}, layout, chain, params, str(unet))
    # Compared under their names, so that a message names what stands in the file.
    expected = expected_weights(checkpoint)
    padded = weights if RECORD in metadata else _with_null_label(weights, layout)
    require_same(str(unet), padded, {to_diffusers(name): tensor for name, tensor in expected.items()})
    found = {name: padded[to_diffusers(name)] for name in expected}
    if diffusers_unet.complete(config, place)["flip_sin_to_cos"]:
        found[LINEAR_1] = swap_halves(found[LINEAR_1])
    if layout.label_rows and RECORD not in metadata:
        notes.append(f"{layout.label_rows} classes, none of them taken for a null label: no guidance")
    return Imported(replace(checkpoint, weights=found), "diffusers", sampling, notes)


def _recognize(content: object, place: str) -> str:
    """The format of what a file holds, by a name that only nets of that format have."""
    first = content[0] if isinstance(content, list | tuple) and content else content
    if isinstance(first, Mapping) and isinstance(first.get("model"), Mapping):
        first = first["model"]
    names = [str(name) for name in first] if isinstance(first, Mapping) else []
    for kind, mark in (("ddim", ddim_authors.MARK), ("kimrass", kimrass.TABLE)):
        if any(name.endswith(mark) for name in names):
            return kind
    rule = f"must be of a known format ({', '.join(FORMATS)})"
    raise ValueError(f"{place}: {rule}, got {', '.join(names[:3]) or type(content).__name__}; see `import --help`")


def _diffusers_weights(unet: Path) -> tuple[Weights, dict[str, str]]:
    safe, pickled = (unet / f"diffusion_pytorch_model.{suffix}" for suffix in ("safetensors", "bin"))
    if safe.is_file():
        found, metadata = read_safetensors(safe)
        return modern(as_weights(found, str(safe))), metadata
    if pickled.is_file():
        return modern(as_weights(read_torch(pickled), str(pickled))), {}
    raise ValueError(f"{unet}: must hold diffusion_pytorch_model.safetensors or .bin, got neither; fetch it again")


def _with_null_label(weights: Weights, layout: Layout) -> Weights:
    """Our label embedding has one row more, for the null label; a foreign net has never seen it, so it is zero."""
    if not layout.label_rows or LABELS not in weights:
        return weights
    return weights | {LABELS: torch.cat([weights[LABELS], torch.zeros_like(weights[LABELS][:1])])}
