"""Rules between parameters: what no single field can know."""

from collections.abc import Callable, Mapping

from ddpm.experiment.evaluation_rules import EVALUATION
from ddpm.experiment.params import (
    DataParams,
    EvaluateParams,
    FiguresParams,
    ModelParams,
    ObjectiveParams,
    ReferenceParams,
    SampleParams,
    ScheduleParams,
    Section,
    TrainParams,
)
from ddpm.experiment.training_rules import TRAINING

NORM_GROUPS = 32
"""Groups of every GroupNorm in the net (Ho et al. 2020)."""
LEAST_WIDTH = 4
"""In pixels, as of the height; 0 says square, so the field cannot."""


FROM_PURE_NOISE = ("ddpm", "ddim", "dpmpp-2m", "dpmpp-2m-sde", "unipc", "euler", "heun")
"""Samplers that can start where no signal is left."""


def problems(sections: Mapping[str, Section]) -> list[str]:
    """Every broken rule among the given (valid) sections, as `section.key rule, got value`.

    A rule is asked only when all sections that it compares are there, so that a file with a wrong type in one section
    still hears about all its other problems.
    """
    lines: list[str] = []
    for rule in RULES:
        names = [name for name in rule.__annotations__ if name != "return"]
        if all(name in sections for name in names):
            lines += rule(*(sections[name] for name in names))
    return lines


def _schedule(schedule: ScheduleParams) -> list[str]:
    lines = []
    if schedule.kind in {"linear", "quadratic"}:
        if schedule.beta_T <= schedule.beta_1:
            lines.append(f"schedule.beta_T must be in (beta_1, 1), got {schedule.beta_T} with beta_1 {schedule.beta_1}")
        largest = schedule.beta_T * 1000 / schedule.T
        if schedule.rescale and largest >= 1:
            lines.append(f"schedule.rescale must be false where beta_T * 1000 / T is not below 1, got {largest:g}")
    if schedule.sigma_max <= schedule.sigma_min:
        lines.append(f"schedule.sigma_max must exceed sigma_min = {schedule.sigma_min:g}, got {schedule.sigma_max:g}")
    return lines


def _continuous(schedule: ScheduleParams, objective: ObjectiveParams) -> list[str]:
    if schedule.process == "chain":
        return []
    lines = []
    if schedule.zero_terminal_snr:
        lines.append(f"schedule.zero_terminal_snr must be false for the process {schedule.process}, got true")
    for name, value, allowed in (
        ("weighting", objective.weighting, objective.weighting != "vlb"),
        ("variance", objective.variance, objective.variance == "fixed"),
        ("time_sampling", objective.time_sampling, objective.time_sampling != "importance"),
    ):
        if not allowed:
            lines.append(f"objective.{name} must be another one for continuous time ({schedule.process}), got {value}")
    return lines


def _terminal(schedule: ScheduleParams, objective: ObjectiveParams, sample: SampleParams) -> list[str]:
    if not schedule.zero_terminal_snr:
        return []
    lines = []
    if objective.target not in {"v", "x0"}:
        lines.append(
            f"objective.target must be v or x0 when schedule.zero_terminal_snr is true, got {objective.target}"
        )
    if sample.sampler not in FROM_PURE_NOISE:
        lines.append(
            f"sample.sampler must be one of {', '.join(FROM_PURE_NOISE)} when schedule.zero_terminal_snr is true "
            f"(the others divide by the signal of x_T), got {sample.sampler}"
        )
    if sample.spacing == "karras":
        lines.append("sample.spacing must not be karras when schedule.zero_terminal_snr is true, got karras")
    return lines


def _variance(objective: ObjectiveParams, sample: SampleParams) -> list[str]:
    if objective.variance == "learned" and objective.vlb_weight == 0 and objective.weighting != "vlb":
        return ["objective.vlb_weight must be positive when objective.variance is learned (0.001 is usual), got 0"]
    if objective.weighting == "vlb" and objective.vlb_weight:
        return [
            "objective.vlb_weight must be 0 when objective.weighting is vlb (it would count the bound twice), "
            f"got {objective.vlb_weight:g}"
        ]
    if objective.variance == "fixed" and objective.vlb_weight:
        return [f"objective.vlb_weight must be 0 when objective.variance is fixed, got {objective.vlb_weight:g}"]
    if objective.variance == "fixed" and sample.variance == "learned":
        return ["sample.variance must be fixed_large or fixed_small when objective.variance is fixed, got learned"]
    return []


def _intervals(sample: SampleParams) -> list[str]:
    lines = []
    for name in ("churn_interval", "guidance_interval"):
        low, high = getattr(sample, name)
        if not 0 <= low < high:
            lines.append(f"sample.{name} must rise from a number of at least 0, got [{low:g}, {high:g}]")
    if sample.clip_x0 and sample.dynamic_threshold:
        lines.append(
            f"sample.dynamic_threshold must be 0 when sample.clip_x0 is true, got {sample.dynamic_threshold:g}"
        )
    return lines


def _widths(model: ModelParams) -> list[str]:
    lines = []
    if min(model.multipliers) < 1:
        lines.append(f"model.multipliers must be at least 1 each, got {model.multipliers}")
    if model.channels % NORM_GROUPS:
        lines.append(f"model.channels must be divisible by the {NORM_GROUPS} norm groups, got {model.channels}")
    return lines


def _resolutions(data: DataParams, model: ModelParams) -> list[str]:
    lines, levels = [], len(model.multipliers)
    factor = 2 ** (levels - 1)
    for name, side in (("image_size", data.image_size), ("image_width", data.image_width)):
        if side % factor:
            lines.append(f"data.{name} must be divisible by {factor} for {levels} model.multipliers, got {side}")
    if 0 < data.image_width < LEAST_WIDTH:
        lines.append(f"data.image_width must be 0 (square) or at least {LEAST_WIDTH}, got {data.image_width}")
    reached = [data.image_size // 2**level for level in range(levels)]
    for name in ("attention", "linear_attention"):
        for resolution in getattr(model, name):
            if resolution not in reached:
                lines.append(f"model.{name} must list resolutions that the image reaches {reached}, got {resolution}")
    for resolution in sorted(set(model.attention) & set(model.linear_attention)):
        lines.append(f"model.linear_attention must not list a resolution of model.attention, got {resolution}")
    return lines


def _heads(data: DataParams, model: ModelParams) -> list[str]:
    key = "head_channels" if model.head_channels else "heads"
    attended = {*model.attention, *model.linear_attention}
    widths = [
        model.channels * multiplier
        for level, multiplier in enumerate(model.multipliers)
        if data.image_size // 2**level in attended or level == len(model.multipliers) - 1  # the middle always attends
    ]
    return [
        f"model.{key} must divide the width of every attention, got {getattr(model, key)} for {width} channels"
        for width in sorted(set(widths))
        if width % getattr(model, key)
    ]


def _digits(data: DataParams, model: ModelParams) -> list[str]:
    if data.source != "digits":
        return []
    lines = []
    if data.crop != "none":
        lines.append(f"data.crop must be none for digits, got {data.crop}")
    if data.channels != 1:
        lines.append(f"data.channels must be 1 for digits, got {data.channels}")
    if data.image_width not in {0, data.image_size}:
        lines.append(f"data.image_width must be 0 for digits, got {data.image_width}")
    if data.labels == "digit" and model.num_classes not in {0, 10}:
        lines.append(f"model.num_classes must be 0 or 10 for digits, got {model.num_classes}")
    return lines


def _crop(data: DataParams) -> list[str]:
    if data.crop in {"ddim-128", "scoresde-140"} and data.source != "celeba":
        return [f"data.crop must not be a CelebA crop for {data.source}, got {data.crop}"]
    return []


def _labels(data: DataParams, model: ModelParams) -> list[str]:
    if model.num_classes and data.labels == "none":
        return [f"data.labels must name labels when model.num_classes is {model.num_classes}, got none"]
    return []


def _held_out(data: DataParams, reference: ReferenceParams, train: TrainParams, evaluate: EvaluateParams) -> list[str]:
    if data.valid_split != "none":
        return []
    lines = []
    if reference.split == "valid":
        lines.append("reference.split must be train when data.valid_split is none, got valid")
    if train.valid_every:
        lines.append(f"train.valid_every must be 0 when data.valid_split is none, got {train.valid_every}")
    if evaluate.floor:
        lines.append("evaluate.floor must be false when data.valid_split is none, got true")
    return lines


def _floor(reference: ReferenceParams, evaluate: EvaluateParams) -> list[str]:
    if evaluate.floor and reference.split == "valid":
        return [
            "evaluate.floor must be false when reference.split is valid (it would compare a set with itself), got true"
        ]
    return []


def _guidance(model: ModelParams, objective: ObjectiveParams, sample: SampleParams) -> list[str]:
    lines = []
    if objective.label_dropout and not model.num_classes:
        lines.append(f"objective.label_dropout must be 0 for an unconditional model, got {objective.label_dropout}")
    if sample.guidance_scale != 1 and not model.num_classes:
        lines.append(f"sample.guidance_scale must be 1 for an unconditional model, got {sample.guidance_scale}")
    elif sample.guidance_scale != 1 and not objective.label_dropout:
        lines.append(
            "sample.guidance_scale must be 1 when objective.label_dropout is 0 (the null label is never trained), "
            f"got {sample.guidance_scale}"
        )
    return lines


def _steps(schedule: ScheduleParams, sample: SampleParams) -> list[str]:
    if sample.steps > schedule.T:
        return [f"sample.steps must be at most schedule.T = {schedule.T}, got {sample.steps}"]
    return []


def _counts(sample: SampleParams, evaluate: EvaluateParams, figures: FiguresParams) -> list[str]:
    lines, drawn = [], sample.num_images
    if evaluate.num_images > drawn:
        lines.append(f"evaluate.num_images must be at most sample.num_images = {drawn}, got {evaluate.num_images}")
    tiles = figures.grid_rows * figures.grid_columns
    if tiles > drawn:
        lines.append(f"figures.grid_rows * grid_columns must be at most sample.num_images = {drawn}, got {tiles}")
    if figures.strip_columns > sample.steps + 1:
        lines.append(
            f"figures.strip_columns must be at most sample.steps + 1 = {sample.steps + 1}, got {figures.strip_columns}"
        )
    return lines


RULES: tuple[Callable[..., list[str]], ...] = (
    _schedule,
    _continuous,
    _terminal,
    _variance,
    _intervals,
    _widths,
    _resolutions,
    _heads,
    _digits,
    _crop,
    _labels,
    _held_out,
    _floor,
    _guidance,
    _steps,
    _counts,
    *TRAINING,
    *EVALUATION,
)
"""A rule names the sections that it compares as its arguments."""
