"""One optimizer step: a batch by address, its loss, gradients, the update, the averages of the weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.objective import Objective, denoising_loss
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.time_sampling import LossHistory
from ddpm.engine.averages import Averages
from ddpm.engine.batches import Batch, Batches
from ddpm.engine.build import (
    Predict,
    build_net,
    build_objective,
    build_optimizer,
    build_predict,
    build_schedule,
    build_times,
    learning_rate,
    num_steps,
)
from ddpm.engine.device import keep_heap, memory_format, require_precision, set_determinism
from ddpm.engine.distributed import Team
from ddpm.engine.sharding import (
    gradients_meet,
    load_whole_optimizer,
    load_whole_weights,
    parallelize,
    shard_as,
    whole,
    whole_optimizer,
    whole_weights,
)
from ddpm.engine.state import Progress
from ddpm.experiment.params import Params
from ddpm.nets.init import init_weights
from ddpm.types import Images, Steps


@dataclass
class Training:
    """Everything that an optimizer step needs and changes.

    Attributes:
        steps: the budget.
        net: the weights.
        parallel: the module to call, which may average gradients over the team.
        predict: the compiled, parallel net as a function; `evaluate` is the same without gradients.
        averages: of the weights; the first one is measured and sampled from.
    """

    params: Params
    team: Team
    steps: int
    schedule: Schedule
    objective: Objective
    net: nn.Module
    parallel: nn.Module
    predict: Predict
    evaluate: Predict
    averages: Averages
    optimizer: torch.optim.Optimizer
    scaler: Any
    batches: Batches
    progress: Progress

    def step(self, step: int) -> None:
        """Take optimizer step 1, 2, ...; nothing here waits for the device."""
        config, progress = self.params.train, self.progress
        parts = [self.backward(step, part) for part in range(config.accumulate)]
        rate = learning_rate(config, step, self.steps)
        grad_norm = optimize(self.net, self.optimizer, self.scaler, rate, config.clip_norm)
        self.averages.update(step)
        if progress.history is not None:
            t, losses = (torch.cat(values) for values in zip(*parts, strict=True))
            progress.history.update(self.team.gather(t), self.team.gather(losses))
        counts = torch.isfinite(grad_norm) | (not self.scaler.is_enabled())  # fp16 skips a step where they overflow
        progress.grad_norm_sum += torch.where(counts, grad_norm, 0.0)
        progress.grad_norms += counts
        progress.step = step

    def backward(self, step: int, part: int) -> tuple[Steps, Tensor]:
        """Add the gradients of one part of a step; returns its t and losses."""
        config = self.params.train
        batch = self.batches(step, part)
        labeled = self.params.model.num_classes > 0
        if config.cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with gradients_meet(self.parallel, now=part == config.accumulate - 1):
            twice = look_twice(self.params.objective.self_condition, config.seed, step)
            losses = image_losses(self.schedule, self.objective, self.predict, batch, labeled, twice)
            loss = (losses * batch.weight).mean() / config.accumulate
            self.scaler.scale(loss).backward()
        self.progress.loss_sum += loss.detach()
        return batch.t, losses.detach()

    def rehearse(self) -> None:
        """One backward pass for nothing, where several processes train.

        The first pass decides in which portions gradients travel, and so the order of sums from the second on. After a
        rehearsal a run that was interrupted has the same order as one that was not.
        """
        if self.team.count > 1:
            before = self.progress
            self.progress = replace(before, loss_sum=before.loss_sum.clone())
            for part in range(self.params.train.accumulate):
                self.backward(max(before.step, 1), part)
            self.optimizer.zero_grad(set_to_none=True)
            self.progress = before

    def state(self) -> dict[str, Any]:
        """All that has changed since the start, in whole tensors; every process of the team must ask."""
        like = list(self.net.parameters())
        averages = {
            name: [whole(tensor, other) for tensor, other in zip(tensors, like, strict=True)]
            for name, tensors in self.averages.state().items()
        }
        return {
            **self.progress.state(self.team.gather(self.progress.loss_sum[None])),
            "net": whole_weights(self.net),
            "averages": averages,
            "optimizer": whole_optimizer(self.optimizer),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, on any number of processes."""
        like = list(self.net.parameters())
        averages = {
            name: [local(shard_as(tensor, other)) for tensor, other in zip(tensors, like, strict=True)]
            for name, tensors in state["averages"].items()
        }
        load_whole_weights(self.net, state["net"])
        self.averages.load(averages)
        load_whole_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        history = self.progress.history
        loaded = Progress.of(state, self.team.rank, self.team.count)
        for name, value in vars(loaded).items():
            setattr(self.progress, name, value)
        if history is not None and self.progress.history is not None:
            history.losses, history.counts = self.progress.history.losses, self.progress.history.counts
            self.progress.history = history  # the batches ask this one


def build_training(params: Params, split: Split, team: Team) -> Training:
    """Build all that training needs from its parameters and images.

    Raises:
        ValueError: the device lacks the precision, or the batch cannot be shared.
    """
    config, device = params.train, team.device
    require_precision(config.precision, device)
    set_determinism(config.deterministic)
    if device.type == "cpu":
        keep_heap()
    schedule = build_schedule(params.schedule, device)
    net = build_net(params.data, params.model, params.objective)
    init_weights(net, config.seed)
    net = net.to(device).to(memory_format=memory_format(device, params.model.channels)).train()
    parallel = parallelize(net, config.parallel, team)
    mode = "reduce-overhead" if config.cuda_graphs else None
    ready, alone = (torch.compile(m, mode=mode, dynamic=False) if config.compile else m for m in (parallel, net))
    progress = Progress.fresh(device)
    if params.objective.time_sampling == "importance":
        progress.history = LossHistory.empty(schedule.T, device)
    return Training(
        params=params,
        team=team,
        steps=num_steps(config, len(split.images)),
        schedule=schedule,
        objective=build_objective(params.objective),
        net=net,
        parallel=parallel,
        predict=build_predict(ready, device, config.precision),
        evaluate=build_predict(alone, device, config.precision),
        averages=Averages(net, config.ema_decays, config.ema_widths),
        optimizer=build_optimizer(config, net),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        batches=build_batches(params, split, schedule, progress.history, team),
        progress=progress,
    )


def build_batches(params: Params, split: Split, schedule: Schedule, history: LossHistory | None, team: Team) -> Batches:
    """The batches of this process."""
    return Batches(
        split.images,
        split.labels,
        seed=params.train.seed,
        batch=params.train.batch,
        parts=shares(params.train.batch, params.train.accumulate, team),
        times=build_times(params.objective, schedule, params.train.seed, history),
        null_label=params.model.num_classes,
        label_dropout=params.objective.label_dropout,
        flip=params.train.flip,
        offset_noise=params.objective.offset_noise,
        device=team.device,
        layout=memory_format(team.device, params.model.channels),
    )


def shares(batch: int, accumulate: int, team: Team) -> Sequence[range]:
    """The parts of a batch that a process computes, one after another: equal ones, and those of a process in a row.

    Raises:
        ValueError: the batch cannot be divided so.
    """
    size, rest = divmod(batch, team.count * accumulate)
    if rest:
        raise ValueError(
            f"train.batch must be divisible by processes * accumulate = {team.count} * {accumulate}, got {batch}; "
            "choose another batch or number of devices"
        )
    first = team.rank * accumulate
    return [range((first + part) * size, (first + part + 1) * size) for part in range(accumulate)]


def image_losses(
    schedule: Schedule, objective: Objective, predict: Predict, batch: Batch, labeled: bool, twice: bool
) -> Tensor:
    """The loss of every image of a batch, (batch,) on the device; `twice`: self-conditioned on its own x0_hat."""
    labels = batch.labels if labeled else None

    def predict_batch(x_t: Images, t: Steps) -> Tensor:
        return predict(x_t, t, labels, batch.dropout_keys)

    return denoising_loss(schedule, objective, predict_batch, batch.x0, batch.t, batch.eps, twice)


def look_twice(self_condition: bool, seed: int, step: int) -> bool:
    """Whether a self-conditioned net sees its own x0_hat at this step: a fair coin, tossed without the device."""
    if not self_condition:
        return False
    return bool(randomness.uniform(seed, "self-condition", step, torch.zeros(1, dtype=torch.int64), 1) < 0.5)


def optimize(net: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, rate: float, clip_norm: float) -> Tensor:
    """One optimizer step on unscaled gradients, clipped if clip_norm is not 0; returns their norm before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    scaler.unscale_(optimizer)
    grad_norm = nn.utils.clip_grad_norm_(net.parameters(), clip_norm or float("inf"))
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return whole(grad_norm, grad_norm).detach()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies here."""
    to_local: Callable[[], Tensor] | None = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()
