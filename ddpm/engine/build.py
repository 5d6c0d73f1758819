"""Parameters become objects here, and only here: below this file functions take numbers, tensors and callables."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ddpm.diffusion.denoiser import Denoiser, PredictLabeled, Threshold, clip, denoiser, dynamic_threshold, guided
from ddpm.diffusion.objective import Objective
from ddpm.diffusion.samplers.steps import Settings
from ddpm.diffusion.schedule import SCHEDULES, Schedule, zero_terminal_snr
from ddpm.diffusion.sde import sub_vp, ve, vp, vp_linear
from ddpm.diffusion.time_sampling import TIME_SAMPLINGS, LossHistory, Times
from ddpm.diffusion.weighting import Weighting
from ddpm.engine.device import autocast
from ddpm.experiment.params import DataParams, ModelParams, ObjectiveParams, SampleParams, ScheduleParams, TrainParams
from ddpm.nets.options import Options
from ddpm.nets.unet import UNet
from ddpm.types import Images, Indices, Labels, Steps

Predict = Callable[[Images, Steps, Labels | None, Indices | None], Images]


def build_schedule(schedule: ScheduleParams, device: torch.device) -> Schedule:
    """The forward process of `schedule`, its tables made on the CPU in float64 and moved."""
    return _process(schedule).to(device)


def _process(schedule: ScheduleParams) -> Schedule:
    if schedule.process == "ve":
        return ve(schedule.T, schedule.sigma_min, schedule.sigma_max)
    factor = 1000 / schedule.T if schedule.rescale else 1.0
    numbers = schedule.T, schedule.beta_1 * factor, schedule.beta_T * factor
    chain = SCHEDULES[schedule.kind](*numbers)
    if schedule.process == "chain":
        return zero_terminal_snr(chain) if schedule.zero_terminal_snr else chain
    preserving = vp_linear(*numbers) if schedule.kind == "linear" else vp(chain)
    return sub_vp(preserving) if schedule.process == "sub-vp" else preserving


def build_net(data: DataParams, model: ModelParams, objective: ObjectiveParams) -> UNet:
    """The U-Net of `model` for the images of `data`, initialized with seed 0 (`ddpm.nets.init` draws other seeds).

    Self-conditioning doubles its input (x_t and the last x0_hat), learned variance its output.
    """
    return UNet(
        in_channels=data.channels * (2 if objective.self_condition else 1),
        out_channels=data.channels * (2 if objective.variance == "learned" else 1),
        image_size=data.shape[:2],
        channels=model.channels,
        multipliers=model.multipliers,
        blocks=model.blocks,
        attention=model.attention,
        heads=model.heads,
        dropout=model.dropout,
        num_classes=model.num_classes,
        options=Options(
            linear_attention=model.linear_attention,
            head_channels=model.head_channels,
            conditioning=model.conditioning,
            resample=model.resample,
            rescale_residuals=model.rescale_residuals,
            attention_norm=model.attention_norm,
            stem_norm=model.stem_norm,
            time_features=model.time_features,
            stem=model.stem,
            padding=model.padding,
            downsample_padding=model.downsample_padding,
            norm_eps=model.norm_eps,
        ),
    )


def build_objective(objective: ObjectiveParams) -> Objective:
    """What the net is trained for."""
    weighting = Weighting(objective.weighting, objective.min_snr_gamma, objective.p2_gamma, objective.p2_k)
    return Objective(
        target=objective.target,
        weighting=None if objective.weighting == "vlb" else weighting,
        learned_variance=objective.variance == "learned",
        vlb_weight=objective.vlb_weight,
        self_condition=objective.self_condition,
    )


def build_times(objective: ObjectiveParams, schedule: Schedule, seed: int, history: LossHistory | None) -> Times:
    """How training draws t; a history, if given, decides."""

    def times(step: int, index: Indices) -> tuple[Steps, Tensor]:
        if history is not None:
            return history.draw(seed, step, index)
        t = TIME_SAMPLINGS[objective.time_sampling](seed, step, index, schedule.T, schedule.continuous)
        return t, torch.ones(len(t), device=t.device)

    return times


def build_optimizer(train: TrainParams, net: nn.Module) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019), all weights in one fused kernel."""
    betas = train.betas[0], train.betas[1]
    if train.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), lr=train.learning_rate, betas=betas, fused=True)
    return torch.optim.AdamW(
        net.parameters(), lr=train.learning_rate, betas=betas, weight_decay=train.weight_decay, fused=True
    )


def num_steps(train: TrainParams, num_images: int) -> int:
    """The budget in steps; images and epochs (of num_images) are rounded up to whole steps."""
    return train.steps or -(-(train.images or train.epochs * num_images) // train.batch)


def learning_rate(train: TrainParams, step: int, steps: int) -> float:
    """Linear warm-up over `train.warmup_steps`, then constant, or by a half cosine to 0 at the last step.

    Args:
        step: counts from 1.
        steps: the budget.
    """
    warm = train.learning_rate * min(1.0, step / max(train.warmup_steps, 1))
    if train.decay == "constant" or step <= train.warmup_steps:
        return warm
    done = (step - train.warmup_steps) / max(steps - train.warmup_steps, 1)
    return train.learning_rate * (1 + math.cos(math.pi * done)) / 2


def build_predict(net: Callable[..., Tensor], device: torch.device, precision: str) -> Predict:
    """The net as a function of our time: t = 1..T, of which the published network is told t - 1 (facts: 0..999)."""

    def predict(x_t: Images, t: Steps, labels: Labels | None, dropout_keys: Indices | None) -> Images:
        with autocast(device, precision):
            return net(x_t, t - 1, labels, dropout_keys)

    return predict


def build_settings(sample: SampleParams) -> Settings:
    """What the sampler is told."""
    return Settings(
        variance=sample.variance,
        eta=sample.eta,
        churn=sample.churn,
        churn_interval=(sample.churn_interval[0], sample.churn_interval[1]),
        churn_noise=sample.churn_noise,
        corrector_steps=sample.corrector_steps,
        corrector_snr=sample.corrector_snr,
        tolerance=sample.tolerance,
    )


def build_threshold(sample: SampleParams) -> Threshold | None:
    """What keeps x0_hat in range, if anything does."""
    if sample.clip_x0:
        return clip
    return dynamic_threshold(sample.dynamic_threshold) if sample.dynamic_threshold else None


def build_denoiser(
    net: Callable[..., Tensor],
    schedule: Schedule,
    objective: ObjectiveParams,
    model: ModelParams,
    sample: SampleParams,
    labels: Labels | None,
    remember: bool = True,
) -> Denoiser:
    """The denoiser that samplers see: net, target, guidance and threshold in one.

    A self-conditioned net remembers its x0_hat from call to call, unless told not to or the sampler is `ode`, whose
    adaptive steps need a function of x_t and t alone: build one denoiser per trajectory.
    """
    predict = build_predict(net, schedule.signal_scale.device, sample.precision)
    if labels is None:
        unlabeled = lambda x_t, t: predict(x_t, t, None, None)  # noqa: E731
    else:
        labeled: PredictLabeled = lambda x_t, t, y: predict(x_t, t, y, None)  # noqa: E731
        low, high = (share * schedule.T for share in sample.guidance_interval)
        interval = (low, high if sample.guidance_interval[1] < 1 else float("inf"))
        unlabeled = guided(labeled, labels, model.num_classes, sample.guidance_scale, interval)
    return denoiser(
        schedule,
        objective.target,
        unlabeled,
        build_threshold(sample),
        learned_variance=objective.variance == "learned",
        self_condition=objective.self_condition,
        remember=remember and sample.sampler != "ode",
    )
