"""Parameters become objects here, and only here: below this file functions take numbers, tensors and callables."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ddpm.diffusion.denoiser import Denoiser, PredictLabeled, denoiser, guided
from ddpm.diffusion.schedule import SCHEDULES, Schedule
from ddpm.engine.device import autocast
from ddpm.experiment.params import DataParams, ModelParams, ObjectiveParams, SampleParams, ScheduleParams, TrainParams
from ddpm.nets.unet import UNet
from ddpm.types import Images, Indices, Labels, Steps

Predict = Callable[[Images, Steps, Labels | None, Indices | None], Images]


def build_schedule(schedule: ScheduleParams, device: torch.device) -> Schedule:
    """The tables of `schedule`, made on the CPU in float64 and moved."""
    return SCHEDULES[schedule.kind](schedule.T, schedule.beta_1, schedule.beta_T).to(device)


def build_net(data: DataParams, model: ModelParams) -> UNet:
    """The U-Net of `model` for the images of `data`, initialized with seed 0 (`ddpm.nets.init` draws other seeds)."""
    return UNet(
        in_channels=data.channels,
        image_size=data.image_size,
        channels=model.channels,
        multipliers=model.multipliers,
        blocks=model.blocks,
        attention=model.attention,
        heads=model.heads,
        dropout=model.dropout,
        num_classes=model.num_classes,
    )


def build_optimizer(train: TrainParams, net: nn.Module) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) with their published defaults besides the rate."""
    if train.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), lr=train.learning_rate, fused=True)
    return torch.optim.AdamW(net.parameters(), lr=train.learning_rate, fused=True)


def learning_rate(train: TrainParams, step: int) -> float:
    """Constant after a linear warm-up over `train.warmup_steps` steps; `step` counts from 1."""
    return train.learning_rate * min(1.0, step / max(train.warmup_steps, 1))


def build_predict(net: Callable[..., Tensor], device: torch.device, precision: str) -> Predict:
    """The net as a function of our time: t = 1..T, of which the published network is told t - 1 (facts: 0..999)."""

    def predict(x_t: Images, t: Steps, labels: Labels | None, dropout_keys: Indices | None) -> Images:
        with autocast(device, precision):
            return net(x_t, t - 1, labels, dropout_keys)

    return predict


def build_denoiser(
    net: Callable[..., Tensor],
    schedule: Schedule,
    objective: ObjectiveParams,
    model: ModelParams,
    sample: SampleParams,
    labels: Labels | None,
) -> Denoiser:
    """The denoiser that samplers see: net, target, guidance and clipping in one."""
    predict = build_predict(net, schedule.beta.device, sample.precision)
    if labels is None:
        return denoiser(schedule, objective.target, lambda x_t, t: predict(x_t, t, None, None), sample.clip_x0)
    labeled: PredictLabeled = lambda x_t, t, y: predict(x_t, t, y, None)  # noqa: E731
    return denoiser(
        schedule, objective.target, guided(labeled, labels, model.num_classes, sample.guidance_scale), sample.clip_x0
    )
