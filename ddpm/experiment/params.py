"""The parameters: every number that can change a result, with its type and range.

There are no defaults here: a default inside a model would be a parameter that nobody tracks. What no single field can
know stands in `rules`; how the file is read stands in `params_file`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["float32", "bf16", "fp16"]
FigureName = Literal[
    "samples",
    "comparison",
    "loss",
    "schedule",
    "forward",
    "denoising",
    "interpolation",
    "coarse-to-fine",
    "denoising-matrix",
    "variations",
    "data",
    "neighbors",
    "loss-by-time",
    "progression",
    "inpainting",
    "image-to-image",
    "guidance",
    "metric-by-steps",
    "schedules",
    "failures",
    "normal-map",
    "pixel-densities",
    "toy",
]
Seed = Field(ge=0, lt=2**32)
Count = Field(ge=1)
Pair = Field(min_length=2, max_length=2)


class Section(BaseModel):
    """A frozen section without defaults that knows all its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataParams(Section):
    """What the images are, how they are cropped and stored; read by `prepare`.

    image_size is the height; image_width is 0 for square images.
    """

    source: Literal[
        "digits",
        "celeba",
        "celeba-hq",
        "cifar10",
        "cifar100",
        "mnist",
        "fashion-mnist",
        "lsun",
        "folder",
        "huggingface",
        "arrays",
    ]
    name: str = Field(pattern=r"^\w[\w.-]*$")
    crop: Literal["none", "ddim-128", "scoresde-140", "squash", "short-side", "adm"]
    resample: Literal["crop", "bilinear", "bicubic", "lanczos", "box"]
    image_size: int = Field(ge=4, le=1024)
    image_width: int = Field(ge=0, le=1024)
    channels: Literal[1, 3]
    train_split: str = Field(min_length=1)
    valid_split: str = Field(min_length=1)
    labels: str = Field(min_length=1)
    on_error: Literal["stop", "skip"]
    store: Literal["array", "encoded"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: (height, width, channels)."""
        return self.image_size, self.image_width or self.image_size, self.channels

    @property
    def size(self) -> int | list[int]:
        """As manifests and references have it: the side of square images, [height, width] of others."""
        height, width, _ = self.shape
        return height if height == width else [height, width]


class ReferenceParams(Section):
    """What generated images are compared with, and through which features."""

    features: Literal["pixels", "inception", "pytorch-fid", "seed0", "fid_768"]
    split: Literal["train", "valid"]
    batch: int = Count


class ScheduleParams(Section):
    """The forward process.

    beta_1, beta_T and rescale are read by the kinds `linear` and `quadratic`; kind is read by every process but `ve`,
    sigma_min and sigma_max only by `ve`.
    """

    process: Literal["chain", "vp", "sub-vp", "ve"]
    kind: Literal["linear", "quadratic", "cosine", "sigmoid"]
    T: int = Field(ge=1, le=100_000)
    beta_1: float = Field(gt=0, lt=1)
    beta_T: float = Field(gt=0, lt=1)
    rescale: bool
    zero_terminal_snr: bool
    sigma_min: float = Field(gt=0)
    sigma_max: float = Field(gt=0)


class ModelParams(Section):
    """The U-Net of Ho et al. (2020) and its options."""

    channels: int = Count
    multipliers: list[int] = Field(min_length=1, max_length=8)
    blocks: int = Count
    attention: list[int]
    linear_attention: list[int]
    heads: int = Count
    head_channels: int = Field(ge=0)
    dropout: float = Field(ge=0, lt=1)
    num_classes: int = Field(ge=0)
    conditioning: Literal["add", "scale-shift"]
    resample: Literal["conv", "residual"]
    rescale_residuals: bool
    attention_norm: bool
    stem_norm: bool
    time_features: Literal["sinusoid", "vaswani", "fourier", "learned-fourier"]
    stem: Literal[3, 7]
    padding: Literal["zeros", "circular"]
    downsample_padding: Literal["asymmetric", "symmetric"]
    norm_eps: float = Field(gt=0)


class ObjectiveParams(Section):
    """What the net predicts, how its errors are weighted, and how it is asked."""

    target: Literal["eps", "x0", "v", "score"]
    weighting: Literal["constant", "min-snr", "p2", "truncated-snr", "vlb"]
    min_snr_gamma: float = Field(gt=0)
    p2_gamma: float = Field(ge=0)
    p2_k: float = Field(gt=0)
    variance: Literal["fixed", "learned"]
    vlb_weight: float = Field(ge=0)
    time_sampling: Literal["uniform", "antithetic", "importance"]
    offset_noise: float = Field(ge=0)
    self_condition: bool
    label_dropout: float = Field(ge=0, lt=1)


class TrainParams(Section):
    """Optimization, averaging and cadence.

    The budget is the one of steps, images and epochs that is not 0. weight_decay is read by adamw. Of the averages,
    the first one named (of the decays, else of the widths) is measured and sampled from.
    """

    seed: int = Seed
    steps: int = Field(ge=0)
    images: int = Field(ge=0)
    epochs: int = Field(ge=0)
    batch: int = Count
    accumulate: int = Count
    devices: int | str
    parallel: Literal["ddp", "fsdp"]
    optimizer: Literal["adam", "adamw"]
    betas: list[float] = Pair
    weight_decay: float = Field(ge=0)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    decay: Literal["constant", "cosine"]
    clip_norm: float = Field(ge=0)
    ema_decays: list[float]
    ema_widths: list[float]
    snapshot_every: int = Field(ge=0)
    choose: Literal["last", "best"]
    flip: bool
    precision: Precision
    compile: bool
    cuda_graphs: bool
    deterministic: bool
    log_every: int = Count
    valid_every: int = Field(ge=0)
    valid_images: int = Count
    preview_every: int = Field(ge=0)
    preview_images: int = Count
    preview_steps: int = Count
    checkpoint_every: int = Field(ge=0)
    checkpoint_minutes: float = Field(ge=0)
    keep_states: int = Count


class SampleParams(Section):
    """How images are drawn from the trained net."""

    seed: int = Seed
    num_images: int = Field(ge=2)
    batch: int = Count
    sampler: Literal[
        "ddpm",
        "ddim",
        "dpmpp-2m",
        "dpmpp-2m-sde",
        "euler",
        "heun",
        "unipc",
        "ode",
        "euler-maruyama",
        "predictor-corrector",
    ]
    steps: int = Count
    spacing: Literal["uniform", "quadratic", "trailing", "karras"]
    eta: float = Field(ge=0, le=1)
    variance: Literal["fixed_large", "fixed_small", "learned"]
    churn: float = Field(ge=0)
    churn_interval: list[float] = Pair
    churn_noise: float = Field(gt=0)
    corrector_steps: int = Field(ge=0)
    corrector_snr: float = Field(gt=0)
    tolerance: float = Field(gt=0, lt=1)
    clip_x0: bool
    dynamic_threshold: float = Field(ge=0, le=1)
    guidance_scale: float = Field(ge=0)
    guidance_interval: list[float] = Pair
    precision: Precision
    compile: bool


class EvaluateParams(Section):
    """Which numbers are computed from the samples, and how.

    kid_subsets and kid_images are read by the metric kid, neighbors by precision-recall, neighbor_images by it and by
    memorization.
    """

    protocol: Literal["own", "ddim-128", "scoresde-140", "squash", "cifar10-train", "seed0"]
    num_images: int = Field(ge=2)
    batch: int = Count
    metrics: list[Literal["frechet", "kid", "inception-score", "precision-recall", "memorization"]] = Field(
        min_length=1
    )
    floor: bool
    interval_groups: int = Field(ge=0)
    curve_points: int = Field(ge=0)
    kid_subsets: int = Count
    kid_images: int = Field(ge=2)
    neighbors: int = Count
    neighbor_images: int = Field(ge=2)


class FiguresParams(Section):
    """What is drawn, and how large."""

    names: list[FigureName] = Field(min_length=1)
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
