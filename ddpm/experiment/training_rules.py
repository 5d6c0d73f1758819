"""Rules between parameters of training: what no single field can know; asked by `ddpm.experiment.rules`."""

from collections.abc import Callable

from ddpm.experiment.params import ScheduleParams, TrainParams


def budget(train: TrainParams) -> list[str]:
    """One budget."""
    given = {name: getattr(train, name) for name in ("steps", "images", "epochs")}
    if sum(value > 0 for value in given.values()) == 1:
        return []
    said = ", ".join(f"{name} {value}" for name, value in given.items())
    return [f"train.steps, images and epochs: exactly one must be positive, the others 0, got {said}"]


def cadence(train: TrainParams) -> list[str]:
    """What happens at a cadence fits together."""
    lines = []
    if train.valid_every % train.log_every:
        lines.append(
            f"train.valid_every must be a multiple of train.log_every = {train.log_every}, got {train.valid_every}"
        )
    if train.choose == "best" and not train.valid_every:
        lines.append("train.valid_every must be positive when train.choose is best, got 0")
    return lines


def averages(train: TrainParams) -> list[str]:
    """Averages that exist."""
    lines = []
    if not train.ema_decays and not train.ema_widths:
        lines.append("train.ema_decays must name at least one average, or train.ema_widths must, got []")
    lines += [f"train.ema_decays must be in [0, 1), got {value}" for value in train.ema_decays if not 0 <= value < 1]
    lines += [
        f"train.ema_widths must be in (0, 0.28), got {value}" for value in train.ema_widths if not 0 < value < 0.28
    ]
    for name in ("ema_decays", "ema_widths"):
        values = getattr(train, name)
        if len(set(values)) < len(values):
            lines.append(f"train.{name} must differ from each other, got {values}")
    return lines


def optimizer(train: TrainParams) -> list[str]:
    """What the optimizer can be told."""
    lines = []
    if not all(0 <= beta < 1 for beta in train.betas):
        lines.append(f"train.betas must be in [0, 1), got {train.betas}")
    if train.weight_decay and train.optimizer != "adamw":
        lines.append(f"train.weight_decay must be 0 for {train.optimizer}, got {train.weight_decay:g}; adamw has one")
    return lines


def devices(train: TrainParams) -> list[str]:
    """A batch that devices can share, and what they can do together."""
    lines = []
    if train.devices != "auto" and (isinstance(train.devices, str) or train.devices < 1):
        return [f"train.devices must be auto or a number of at least 1, got {train.devices}"]
    parts = train.accumulate * (1 if train.devices == "auto" else int(train.devices))
    if train.batch % parts:
        what = "accumulate" if train.devices == "auto" else "devices * accumulate"
        lines.append(f"train.batch must be divisible by {what} = {parts}, got {train.batch}")
    if train.cuda_graphs and not train.compile:
        lines.append("train.cuda_graphs must be false when train.compile is false, got true")
    if train.parallel == "fsdp" and train.precision == "fp16":
        lines.append("train.precision must be bf16 or float32 when train.parallel is fsdp, got fp16")
    return lines


def preview(schedule: ScheduleParams, train: TrainParams) -> list[str]:
    """Previews that the schedule has steps for."""
    if train.preview_every and train.preview_steps > schedule.T:
        return [f"train.preview_steps must be at most schedule.T = {schedule.T}, got {train.preview_steps}"]
    return []


TRAINING: tuple[Callable[..., list[str]], ...] = (budget, cadence, averages, optimizer, devices, preview)
"""A rule names the sections that it compares as its arguments."""
