"""The parameters: every number that can change a result, with its type and range.

There are no defaults here: a default inside a model would be a parameter that nobody tracks. What no single field can
know stands in `rules`; how the file is read stands in `params_file`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["float32", "bf16", "fp16"]
Seed = Field(ge=0, lt=2**32)
Count = Field(ge=1)


class Section(BaseModel):
    """A frozen section without defaults that knows all its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataParams(Section):
    """What the images are and how they were cropped; read by `prepare`."""

    source: Literal["digits", "celeba", "cifar10"]
    crop: Literal["none", "ddim-128", "scoresde-140", "squash", "short-side"]
    image_size: int = Field(ge=4, le=1024)
    channels: Literal[1, 3]
    train_split: str = Field(min_length=1)
    valid_split: str = Field(min_length=1)
    labels: str = Field(min_length=1)


class ReferenceParams(Section):
    """What generated images are compared with, and through which features."""

    features: Literal["pixels", "inception", "fid_768"]
    split: Literal["train", "valid"]
    batch: int = Count


class ScheduleParams(Section):
    """The noise schedule; beta_1 and beta_T are read by the kinds `linear` and `quadratic`."""

    kind: Literal["linear", "quadratic", "cosine", "sigmoid"]
    T: int = Field(ge=1, le=100_000)
    beta_1: float = Field(gt=0, lt=1)
    beta_T: float = Field(gt=0, lt=1)


class ModelParams(Section):
    """The U-Net of Ho et al. (2020)."""

    channels: int = Count
    multipliers: list[int] = Field(min_length=1, max_length=8)
    blocks: int = Count
    attention: list[int]
    heads: int = Count
    dropout: float = Field(ge=0, lt=1)
    num_classes: int = Field(ge=0)


class ObjectiveParams(Section):
    """What the net predicts and how it is asked."""

    target: Literal["eps", "x0", "v"]
    label_dropout: float = Field(ge=0, lt=1)


class TrainParams(Section):
    """Optimization, averaging and cadence."""

    seed: int = Seed
    steps: int = Count
    batch: int = Count
    optimizer: Literal["adam", "adamw"]
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    clip_norm: float = Field(gt=0)
    ema_decay: float = Field(ge=0, lt=1)
    flip: bool
    precision: Precision
    compile: bool
    deterministic: bool
    log_every: int = Count
    valid_every: int = Field(ge=0)
    valid_images: int = Count
    checkpoint_every: int = Count


class SampleParams(Section):
    """How images are drawn from the trained net."""

    seed: int = Seed
    num_images: int = Field(ge=2)
    batch: int = Count
    sampler: Literal["ddpm", "ddim"]
    steps: int = Count
    eta: float = Field(ge=0, le=1)
    variance: Literal["fixed_large", "fixed_small"]
    clip_x0: bool
    guidance_scale: float = Field(ge=0)
    precision: Precision
    compile: bool


class EvaluateParams(Section):
    """Which numbers are computed from the samples."""

    num_images: int = Field(ge=2)
    batch: int = Count
    floor: bool


class FiguresParams(Section):
    """What is drawn, and how large."""

    seed: int = Seed
    grid_rows: int = Count
    grid_columns: int = Count
    zoom: int = Field(ge=1, le=32)
    strip_images: int = Count
    strip_columns: int = Field(ge=2)


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams
    reference: ReferenceParams
    schedule: ScheduleParams
    model: ModelParams
    objective: ObjectiveParams
    train: TrainParams
    sample: SampleParams
    evaluate: EvaluateParams
    figures: FiguresParams


def section_type(name: str) -> type[Section]:
    """The model of one section, by its name in the file."""
    annotation: Any = Params.model_fields[name].annotation
    found: type[Section] = annotation
    return found
