"""Training: batches by address, one optimizer step, an average of the weights, and a state to continue from."""

import copy
import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.objective import Objective, denoising_loss, plain
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.time_sampling import LossHistory, Times, uniform
from ddpm.engine.batches import Batch, Batches, to_images
from ddpm.engine.build import (
    Predict,
    build_net,
    build_objective,
    build_optimizer,
    build_predict,
    build_schedule,
    build_times,
    learning_rate,
)
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import memory_format, require_precision, set_determinism
from ddpm.engine.state import Progress, load_state, save_state
from ddpm.experiment.params import Params
from ddpm.nets.init import init_weights

CURVE = ("step", "loss", "grad_norm", "learning_rate", "valid_loss")
"""Columns of the training curve."""


@dataclass(frozen=True)
class Trained:
    """What training leaves behind."""

    checkpoint: Checkpoint
    rows: list[dict[str, float]]
    resumed_from: int

    @property
    def numbers(self) -> dict[str, float]:
        """The last row of the curve and the last held-out loss."""
        valid = [row["valid_loss"] for row in self.rows if "valid_loss" in row]
        last = {name: value for name, value in self.rows[-1].items() if name != "valid_loss"}
        return {**last, **({"valid_loss": valid[-1]} if valid else {})}


def train(
    params: Params,
    train_split: Split,
    valid_split: Split,
    work: Path,
    device: torch.device,
    report: Callable[[Progress], None],
) -> Trained:
    """Train the net of `params`; continue from the newest state in `work` if there is one.

    Args:
        params: sections data, schedule, model, objective and train are read.
        train_split: uint8 images and labels to learn from.
        valid_split: held-out images for `valid_loss`; may be empty when train.valid_every is 0.
        work: folder of unfinished state; the same bytes come out whether or not it is empty at the start.
        device: where to compute.
        report: called after every step, without waiting for the device.

    Raises:
        ValueError: the loss stopped being finite, or the device lacks the precision.
    """
    config = params.train
    require_precision(config.precision, device)
    set_determinism(config.deterministic)
    schedule = build_schedule(params.schedule, device)
    net = build_net(params.data, params.model, params.objective)
    init_weights(net, config.seed)
    net = net.to(device).to(memory_format=memory_format(device)).train()
    ema = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = build_optimizer(config, net)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    progress = load_state(work, net, ema, optimizer, scaler, device)
    resumed_from = progress.step
    if params.objective.time_sampling == "importance" and progress.history is None:
        progress.history = LossHistory.empty(schedule.T, device)
    times = build_times(params.objective, schedule, config.seed, progress.history)
    batches = _batches(params, train_split, times, device)
    objective, labeled = build_objective(params.objective), params.model.num_classes > 0
    predict = build_predict(torch.compile(net) if config.compile else net, device, config.precision)
    held_out = _held_out(params, valid_split, schedule, build_predict(ema, device, config.precision), device)

    while progress.step < config.steps:
        step = progress.step + 1
        rate = learning_rate(config, step)
        batch = batches(step)
        losses = image_losses(schedule, objective, predict, batch, labeled, look_twice(config.seed, step))
        loss = (losses * batch.weight).mean()
        grad_norm = optimize(net, optimizer, scaler, loss, rate, config.clip_norm)
        update_ema(ema, net, config.ema_decay, step)
        if progress.history is not None:
            progress.history.update(batch.t, losses.detach())
        progress.step = step
        progress.loss_sum += loss.detach()
        progress.grad_norm_sum += grad_norm
        if step % config.log_every == 0 or step == config.steps:
            progress.rows.append(_row(progress, rate, config.log_every))
            if config.valid_every and (step % config.valid_every == 0 or step == config.steps):
                progress.rows[-1]["valid_loss"] = held_out()
        if step % config.checkpoint_every == 0 and step < config.steps:
            save_state(work, progress, net, ema, optimizer, scaler)
        report(progress)
    weights = {name: tensor.detach() for name, tensor in ema.state_dict().items()}
    checkpoint = Checkpoint(params.data, params.schedule, params.model, params.objective, progress.step, weights)
    return Trained(checkpoint, progress.rows, resumed_from)


def require_data(params: Params, folder: Path, train_split: Split, valid_split: Split) -> None:
    """Refuse images that are not those of the parameters, before anything is built.

    Raises:
        ValueError: the first rule that is broken.
    """
    expected = (params.data.image_size, params.data.image_size, params.data.channels)
    for name, split in (("train", train_split), ("valid", valid_split)):
        if split.images.shape[1:] != expected:
            raise ValueError(
                f"{folder}/{name}.npy: images must be {expected} (data.image_size, data.image_size, data.channels), "
                f"got {split.images.shape[1:]}; run `python -m ddpm prepare`"
            )
    if len(train_split.images) == 0:
        raise ValueError(f"{folder}/train.npy: must hold at least one image; choose another data.train_split")
    if params.train.valid_every and len(valid_split.images) == 0:
        raise ValueError(f"{folder}/valid.npy: must hold images when train.valid_every is {params.train.valid_every}")
    num_classes, largest = params.model.num_classes, int(train_split.labels.max())
    if num_classes and largest >= num_classes:
        raise ValueError(
            f"model.num_classes must exceed every label of {folder}, got {num_classes} with label {largest}"
        )


def image_losses(
    schedule: Schedule, objective: Objective, predict: Predict, batch: Batch, labeled: bool, twice: bool
) -> Tensor:
    """The loss of every image of a batch, (batch,) on the device; `twice`: self-conditioned on its own x0_hat."""
    labels = batch.labels if labeled else None

    def predict_batch(x_t: Tensor, t: Tensor) -> Tensor:
        return predict(x_t, t, labels, batch.dropout_keys)

    return denoising_loss(schedule, objective, predict_batch, batch.x0, batch.t, batch.eps, twice)


def look_twice(seed: int, step: int) -> bool:
    """Whether a self-conditioned net sees its own x0_hat at this step: a fair coin, tossed without the device."""
    return bool(randomness.uniform(seed, "self-condition", step, torch.zeros(1, dtype=torch.int64), 1) < 0.5)


def optimize(
    net: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, loss: Tensor, rate: float, clip_norm: float
) -> Tensor:
    """One optimizer step on clipped, unscaled gradients; returns their norm before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    grad_norm = nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return grad_norm.detach()


@torch.no_grad()
def update_ema(ema: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """ema <- d ema + (1 - d) net with d = min(decay, (1 + step) / (10 + step)): early averages forget the start.

    All weights in one fused call. The net's only buffer, random frequencies of time, never changes.
    """
    d = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - d)


def _batches(params: Params, split: Split, times: Times, device: torch.device) -> Batches:
    return Batches(
        split.images,
        split.labels,
        seed=params.train.seed,
        batch=params.train.batch,
        times=times,
        null_label=params.model.num_classes,
        label_dropout=params.objective.label_dropout,
        flip=params.train.flip,
        offset_noise=params.objective.offset_noise,
        device=device,
    )


def _held_out(
    params: Params, split: Split, schedule: Schedule, predict: Predict, device: torch.device
) -> Callable[[], float]:
    """The loss on held-out images as a function of the weights alone: the same t and noise at every call.

    Whatever training minimizes, this is the constant-weight error of the net's target (of its mean only, where the
    variance is learned), t uniform, without offset noise, self-conditioned on zeros: comparable between weightings.
    """
    objective = plain(build_objective(params.objective))
    labeled, seed, size = params.model.num_classes > 0, params.train.seed, params.train.batch
    num_images = min(params.train.valid_images, len(split.images))

    def chunks() -> Iterator[Tensor]:
        for first in range(0, num_images, size):
            index = torch.arange(first, min(first + size, num_images), device=device)
            x0 = to_images(torch.from_numpy(split.images[first : first + len(index)].copy()), device)
            labels = torch.from_numpy(split.labels[first : first + len(index)].copy()).to(device)
            t = uniform(seed, 0, index, schedule.T, schedule.continuous, purpose="held-out time")
            eps = randomness.normal(seed, "held-out noise", 0, index, tuple(x0.shape[1:]))
            predict_labeled = lambda x_t, t, y=labels: predict(x_t, t, y if labeled else None, None)  # noqa: E731
            yield denoising_loss(schedule, objective, predict_labeled, x0, t, eps).sum()

    @torch.no_grad()
    def held_out() -> float:
        return float(sum(chunks(), torch.zeros((), device=device))) / num_images

    return held_out


def _row(progress: Progress, rate: float, log_every: int) -> dict[str, float]:
    """One logged row: means since the row before it. The only place where training waits for the device.

    Raises:
        ValueError: the loss is not finite.
    """
    steps = (progress.step - 1) % log_every + 1
    loss, grad_norm = (float(value) / steps for value in (progress.loss_sum, progress.grad_norm_sum))
    if not math.isfinite(loss):
        raise ValueError(
            f"train: the loss is {loss} within the {steps} steps up to step {progress.step} (learning rate {rate:g}); "
            "lower train.learning_rate, lengthen train.warmup_steps, or use train.precision=float32"
        )
    progress.loss_sum.zero_()
    progress.grad_norm_sum.zero_()
    return {"step": progress.step, "loss": loss, "grad_norm": grad_norm, "learning_rate": rate}


def curve_csv(rows: list[dict[str, float]]) -> bytes:
    """The curve as CSV; a cell is empty where nothing was measured."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CURVE, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
