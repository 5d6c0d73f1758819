"""The sections of a checkpoint and the plain numbers of foreign formats: one from the other."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from ddpm.diffusion.schedule import SCHEDULES
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.experiment.params import DataParams, ModelParams, ObjectiveParams, Params, ScheduleParams, Section
from ddpm.interop.diffusers_scheduler import Chain
from ddpm.interop.diffusers_unet import config_from
from ddpm.interop.files import Weights, require_same
from ddpm.interop.layout import Layout

PUBLISHED = Chain("linear", 1000, 0.0001, 0.02, zero_terminal_snr=False, target="eps", learned_variance=False)
"""The process of Ho et al. (2020), which the DDIM authors and KimRass kept."""
LEARNED_VLB_WEIGHT = 0.001
"""Of nets with learned variance (Nichol & Dhariwal 2021, sec. 3.1)."""
SECTIONS: dict[str, type[Section]] = {
    "data": DataParams,
    "schedule": ScheduleParams,
    "model": ModelParams,
    "objective": ObjectiveParams,
}
Kind = TypeVar("Kind", bound=Section)


def assemble(weights: Weights, layout: Layout, chain: Chain, params: Params, place: str) -> Checkpoint:
    """The checkpoint of foreign weights; what no foreign file tells comes from `params`, or is off.

    Raises:
        ValueError: sections out of range, or weights (if there are any) that are not those of the net.
    """
    outputs = layout.in_channels * (2 if chain.learned_variance else 1)
    if layout.out_channels != outputs:
        rule = "must be in_channels, or twice that with variance_type learned_range"
        raise ValueError(f"{place}: out_channels {rule}, got {layout.out_channels} for {layout.in_channels}")
    height, width = layout.image_size
    data = {"image_size": height, "image_width": 0 if width == height else width, "channels": layout.in_channels}
    schedule = {"process": "chain", "kind": chain.kind, "T": chain.T, "beta_1": chain.beta_1, "beta_T": chain.beta_T}
    schedule |= {"rescale": False, "zero_terminal_snr": chain.zero_terminal_snr}
    objective = {
        "target": chain.target,
        "weighting": "constant",
        "variance": "learned" if chain.learned_variance else "fixed",
        "vlb_weight": LEARNED_VLB_WEIGHT if chain.learned_variance else 0.0,
        "time_sampling": "uniform",
        "offset_noise": 0.0,
        "self_condition": False,
        "label_dropout": 0.0,
    }
    checkpoint = Checkpoint(
        data=_section(DataParams, params.data.model_dump() | data, place),
        schedule=_section(ScheduleParams, params.schedule.model_dump() | schedule, place),
        model=_section(ModelParams, _model(layout), place),
        objective=_section(ObjectiveParams, params.objective.model_dump() | objective, place),
        step=0,
        weights=weights,
    )
    if weights:
        require_same(place, weights, expected_weights(checkpoint))
    return checkpoint


def layout_of(checkpoint: Checkpoint) -> Layout:
    """The net of a checkpoint in the terms of foreign formats; options that none of them knows are not looked at."""
    data, model = checkpoint.data, checkpoint.model
    return Layout(
        image_size=data.shape[:2],
        in_channels=data.channels,
        out_channels=data.channels * (2 if checkpoint.objective.variance == "learned" else 1),
        channels=model.channels,
        multipliers=tuple(model.multipliers),
        blocks=model.blocks,
        attention=tuple(i for i in range(len(model.multipliers)) if data.image_size >> i in model.attention),
        label_rows=model.num_classes + 1 if model.num_classes else 0,
        heads=model.heads,
        head_channels=model.head_channels,
        conditioning=model.conditioning,
        time_features=model.time_features,
        downsample_padding=model.downsample_padding,
        norm_eps=model.norm_eps,
        dropout=model.dropout,
    )


def chain_of(schedule: ScheduleParams, objective: ObjectiveParams) -> Chain:
    """The process of a checkpoint in the terms of foreign formats.

    Raises:
        ValueError: it is none in whole steps.
    """
    if schedule.process != "chain":
        raise ValueError(
            f"schedule.process must be chain in a foreign format, got {schedule.process}; there is no other"
        )
    factor = 1000 / schedule.T if schedule.rescale else 1.0
    return Chain(
        kind=schedule.kind,
        T=schedule.T,
        beta_1=schedule.beta_1 * factor,
        beta_T=schedule.beta_T * factor,
        zero_terminal_snr=schedule.zero_terminal_snr,
        target=objective.target,
        learned_variance=objective.variance == "learned",
    )


def betas(kind: str, T: int, beta_1: float, beta_T: float) -> list[float]:
    """beta_1..beta_T of one of our schedules."""
    return [float(beta) for beta in SCHEDULES[kind](T, beta_1, beta_T).beta[1:]]


def expected_weights(checkpoint: Checkpoint) -> Weights:
    """Names and shapes of the net's weights, on the meta device."""
    with torch.device("meta"):
        return dict(build_net(checkpoint.data, checkpoint.model, checkpoint.objective).state_dict())


def record_of(checkpoint: Checkpoint) -> str:
    """All sections as text, for the metadata of an exported file."""
    about = {name: getattr(checkpoint, name).model_dump() for name in SECTIONS}
    return json.dumps(about | {"step": checkpoint.step}, sort_keys=True)


def recorded(text: str, layout: Layout, chain: Chain, place: str) -> Checkpoint:
    """The sections that an export of ours carries, still without weights.

    Raises:
        ValueError: the configuration beside it no longer says the same.
    """
    about = json.loads(text)
    sections = {name: _section(kind, about[name], place) for name, kind in SECTIONS.items()}
    checkpoint = Checkpoint(**sections, step=about["step"], weights={})  # type: ignore[arg-type]  # by name
    ours = config_from(layout_of(checkpoint))
    theirs = config_from(layout)
    changed = [f"config.json: {key} {value}" for key, value in theirs.items() if ours[key] != value]
    if chain_of(checkpoint.schedule, checkpoint.objective) != chain:
        changed.append("scheduler_config.json")
    if changed:
        rule = "must be as it was exported (the weights carry their own record)"
        raise ValueError(f"{place}: {rule}, got a changed {changed[0]}; export it again")
    return checkpoint


def _model(layout: Layout) -> dict[str, Any]:
    return {
        "channels": layout.channels,
        "multipliers": list(layout.multipliers),
        "blocks": layout.blocks,
        "attention": layout.resolutions,
        "linear_attention": [],
        "heads": layout.heads,
        "head_channels": layout.head_channels,
        "dropout": layout.dropout,
        "num_classes": layout.label_rows,
        "conditioning": layout.conditioning,
        "resample": "conv",
        "rescale_residuals": False,
        "attention_norm": True,
        "stem_norm": False,
        "time_features": layout.time_features,
        "stem": 3,
        "padding": "zeros",
        "downsample_padding": layout.downsample_padding,
        "norm_eps": layout.norm_eps,
    }


def _section(kind: type[Kind], values: Mapping[str, Any], place: str) -> Kind:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([kind.__name__.removesuffix("Params").lower(), *map(str, first["loc"])])
        rule = first["msg"].replace("Input should be", "must be").replace("Input should", "must")
        raise ValueError(f"{place}: {where} {rule}, got {first['input']!r}; no such net here") from None
