"""Training: optimizer steps until the budget is spent, and all that happens beside them at a cadence."""

import csv
import io
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm.data.store import Split
from ddpm.engine.build import learning_rate
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ddpm.engine.distributed import Team, Votes
from ddpm.engine.held_out import COLUMNS, held_out_loss
from ddpm.engine.preview import build_preview
from ddpm.engine.sharding import whole_weights
from ddpm.engine.state import Progress, StateWriter, read_state
from ddpm.engine.step import Training, build_training
from ddpm.experiment.interruption import Interrupted, Interruption
from ddpm.experiment.params import Params, TrainParams

CURVE = ("step", "loss", "grad_norm", "learning_rate", *COLUMNS)
"""Columns of the training curve."""
BEST = "best.safetensors"
"""The weights with the lowest held-out loss, among the averages."""


@dataclass(frozen=True)
class Trained:
    """What training leaves behind.

    Attributes:
        checkpoint: what is sampled from: the first average, after the last step or where its held-out loss was lowest.
        averages: folder of checkpoints: every average after the last step and at the snapshots, and the best one.
        rows: the curve.
        previews: step -> images, uint8 NHWC.
        resumed_from: the step whose state was found, 0 without one.
    """

    checkpoint: Checkpoint
    averages: Path
    rows: list[dict[str, float]]
    previews: dict[int, NDArray[np.uint8]]
    resumed_from: int

    @property
    def numbers(self) -> dict[str, float]:
        """The last row of the curve, the last held-out losses, and which step is sampled from."""
        valid = [row for row in self.rows if COLUMNS[0] in row]
        best = {"best_valid_loss": min(row[COLUMNS[0]] for row in valid)} if valid else {}
        return {**(valid[-1] if valid else {}), **self.rows[-1], **best, "chosen_step": self.checkpoint.step}


def train(
    params: Params,
    train_split: Split,
    valid_split: Split,
    work: Path,
    team: Team,
    report: Callable[[Progress], None],
    interruption: Interruption,
) -> Trained:
    """Train the net of `params`; continue from the newest state in `work` if there is one.

    Args:
        params: sections data, schedule, model, objective and train are read.
        train_split: uint8 images and labels to learn from.
        valid_split: held-out images for `valid_loss`; may be empty when train.valid_every is 0.
        work: folder of unfinished state, shared by the team; the same bytes come out whether or not it is empty.
        team: the processes that train together; all of them call.
        report: called after every step, without waiting for the device.
        interruption: asked after every step whether to stop.

    Raises:
        ValueError: the loss stopped being finite, or the device lacks the precision.
        Interrupted: somebody wanted it to stop; the state is written.
    """
    training, config = build_training(params, train_split, team), params.train
    progress, cadence = training.progress, Cadence(config, training.steps)
    resumed_from = resume(training, work)
    held_out = held_out_loss(params, valid_split, training.schedule, training.evaluate, team)
    preview = build_preview(params, training.schedule, training.evaluate, team.device)
    first, votes = training.averages.names[0], Votes(team)
    if progress.step < training.steps:
        training.rehearse()
    with StateWriter(work, config.keep_states) as writer:
        while progress.step < training.steps:
            step = progress.step + 1
            training.step(step)
            if cadence.due(step, config.log_every):
                progress.rows.append(row(training))
            if config.valid_every and cadence.due(step, config.valid_every):
                with training.averages.in_place(first):
                    progress.rows[-1] |= held_out()
                if lowest(progress.rows):
                    keep_average(training, first, work / BEST)
            if cadence.due(step, config.preview_every):
                with training.averages.in_place(first):
                    progress.previews[step] = preview()
            if cadence.due(step, config.snapshot_every):
                for name in training.averages.names:
                    keep_average(training, name, work / "averages" / f"{name}-step-{step:09d}.safetensors")
            stop, overdue = votes(interruption.wanted, cadence.overdue())
            if step < training.steps and (stop or overdue or cadence.hits(step, config.checkpoint_every)):
                state = training.state()
                cadence.saved()
                if team.first:
                    writer.save(step, state)
            report(progress)
            if stop and step < training.steps:
                writer.wait()
                raise interrupted(step, work, team, interruption)
    votes.close()
    return finish(training, work, resumed_from)


class Cadence:
    """When something is due: every so many steps, and at the last one; states also by the clock."""

    def __init__(self, config: TrainParams, steps: int) -> None:
        self.steps, self.seconds = steps, 60 * config.checkpoint_minutes
        self.saved_at = time.monotonic()

    def hits(self, step: int, every: int) -> bool:
        """Whether it is a multiple of `every`; never, if that is 0."""
        return every > 0 and step % every == 0

    def due(self, step: int, every: int) -> bool:
        """Whether it is a multiple of `every`, or the last step."""
        return step == self.steps or self.hits(step, every)

    def overdue(self) -> bool:
        """Whether the last state is older than train.checkpoint_minutes; when it is written changes no number."""
        return 0 < self.seconds < time.monotonic() - self.saved_at

    def saved(self) -> None:
        """Note that a state was written."""
        self.saved_at = time.monotonic()


def resume(training: Training, work: Path) -> int:
    """Load the newest state, if there is one; returns its step.

    Raises:
        ValueError: the processes do not see the same states.
    """
    state = read_state(work, training.team.device)
    if state is not None:
        training.load(state)
    found = training.team.gather(training.progress.loss_sum.new_tensor([training.progress.step])).tolist()
    if len(set(found)) > 1:
        raise ValueError(f"{work}: must be one folder that all machines share, but they found states of steps {found}")
    return training.progress.step


def row(training: Training) -> dict[str, float]:
    """One logged row: means since the row before it. The only place where training waits for the device.

    Raises:
        ValueError: the loss is not finite.
    """
    progress, config = training.progress, training.params.train
    steps, rate = (progress.step - 1) % config.log_every + 1, learning_rate(config, progress.step, training.steps)
    loss = float(training.team.gather(progress.loss_sum[None]).double().mean()) / steps
    if not math.isfinite(loss):
        raise ValueError(
            f"train: the loss is {loss} within the {steps} steps up to step {progress.step} (learning rate {rate:g}); "
            "lower train.learning_rate, lengthen train.warmup_steps, or use train.precision=float32"
        )
    grad_norm = float(progress.grad_norm_sum) / max(float(progress.grad_norms), 1.0)
    for total in (progress.loss_sum, progress.grad_norm_sum, progress.grad_norms):
        total.zero_()
    return {"step": progress.step, "loss": loss, "grad_norm": grad_norm, "learning_rate": rate}


def lowest(rows: list[dict[str, float]]) -> bool:
    """Whether the last held-out loss is lower than all before it."""
    losses = [row[COLUMNS[0]] for row in rows if COLUMNS[0] in row]
    return losses[-1] < min(losses[:-1], default=math.inf)


def averaged(training: Training, name: str) -> Checkpoint:
    """An average as a checkpoint, in whole tensors; every process of the team must ask."""
    params = training.params
    with training.averages.in_place(name):
        weights = {key: tensor.detach().cpu().clone() for key, tensor in whole_weights(training.net).items()}
    sections = params.data, params.schedule, params.model, params.objective
    return Checkpoint(*sections, training.progress.step, weights, name)


def keep_average(training: Training, name: str, path: Path) -> None:
    """Write an average as a checkpoint."""
    checkpoint = averaged(training, name)
    if training.team.first:
        save_checkpoint(path, checkpoint)


def finish(training: Training, work: Path, resumed_from: int) -> Trained:
    """Gather what is left behind; the best weights join the averages."""
    checkpoint, progress = averaged(training, training.averages.names[0]), training.progress
    training.team.wait()  # for the files of the first process
    if training.params.train.valid_every:
        best = load_checkpoint(work / BEST)
        if training.team.first:
            save_checkpoint(work / "averages" / BEST, best)
        checkpoint = best if training.params.train.choose == "best" else checkpoint
    return Trained(checkpoint, work / "averages", progress.rows, progress.previews, resumed_from)


def interrupted(step: int, work: Path, team: Team, interruption: Interruption) -> Interrupted:
    """What ends a training that somebody stopped, at a step whose state is written; the first process says so."""
    number = interruption.signal or signal.SIGTERM  # another process of the team was told
    message = f"train: stopped after step {step}; the state is in {work}, the same command goes on from there"
    return Interrupted(message if team.first else "", number)


def require_data(params: Params, folder: Path, train_split: Split, valid_split: Split) -> None:
    """Refuse images that are not those of the parameters, before anything is built.

    Raises:
        ValueError: the first rule that is broken.
    """
    expected = params.data.shape
    for name, split in (("train", train_split), ("valid", valid_split)):
        if split.images.shape[1:] != expected:
            raise ValueError(
                f"{folder}/{name}.npy: images must be {expected} (height, width, channels of section data), "
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


def curve_csv(rows: list[dict[str, float]]) -> bytes:
    """The curve as CSV; a cell is empty where nothing was measured."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CURVE, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
