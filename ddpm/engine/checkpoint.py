"""Final weights: one safetensors file that explains itself."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ddpm.engine.build import build_net
from ddpm.engine.device import memory_format
from ddpm.experiment.params import DataParams, ModelParams, ObjectiveParams, ScheduleParams
from ddpm.experiment.workspace import write_bytes
from ddpm.nets.unet import UNet

FORMAT = "ddpm-3"


@dataclass(frozen=True)
class Checkpoint:
    """EMA weights and everything that is needed to sample from them.

    Attributes:
        average: which average of the weights these are, such as `decay-0.9999`; `none` if that is not known.
    """

    data: DataParams
    schedule: ScheduleParams
    model: ModelParams
    objective: ObjectiveParams
    step: int
    weights: dict[str, Tensor]
    average: str = "none"

    def build(self, device: torch.device) -> UNet:
        """The net with these weights, ready to evaluate (no dropout, no gradients)."""
        with torch.device("meta"):
            net = build_net(self.data, self.model, self.objective)
        net.load_state_dict(self.weights, assign=True)
        return net.to(device).to(memory_format=memory_format(device, self.model.channels)).eval().requires_grad_(False)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write weights and settings atomically; the same content gives the same bytes (one metadata key, sorted JSON)."""
    about = {
        "format": FORMAT,
        "step": checkpoint.step,
        "average": checkpoint.average,
        **{name: getattr(checkpoint, name).model_dump() for name in ("data", "schedule", "model", "objective")},
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(checkpoint.weights.items())}
    write_bytes(path, save(weights, metadata={"ddpm": json.dumps(about, sort_keys=True)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint written by `save_checkpoint`.

    Raises:
        ValueError: the file is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise ValueError(
            f"{path}: no such checkpoint; make it with `python -m ddpm train`, or name one with --checkpoint"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: damaged checkpoint ({error}); restore it with `dvc checkout`, or run `dvc repro -f train`"
        ) from None
    about = json.loads(metadata.get("ddpm", "{}"))
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{path}: must be a checkpoint of format {FORMAT}, got {about.get('format', 'foreign weights')}"
        )
    return Checkpoint(
        data=DataParams.model_validate(about["data"]),
        schedule=ScheduleParams.model_validate(about["schedule"]),
        model=ModelParams.model_validate(about["model"]),
        objective=ObjectiveParams.model_validate(about["objective"]),
        step=about["step"],
        weights=weights,
        average=about.get("average", "none"),
    )
