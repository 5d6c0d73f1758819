"""The configuration of a `DDPMScheduler` or `DDIMScheduler` of diffusers: the process, and how it samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Betas: TypeAlias = Callable[[str, int, float, float], Sequence[float]]
"""(kind, T, beta_1, beta_T) -> beta_1..beta_T of our schedule of that kind."""

DEFAULTS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "variance_type": "fixed_small",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
}
"""What both schedulers take where the file is silent (diffusers 0.35 to 0.42)."""

PROCESS = tuple(DEFAULTS)[:7]
"""The settings that say what a net was trained for; the others say how to draw from it."""

KINDS = {"linear": "linear", "scaled_linear": "quadratic", "squaredcos_cap_v2": "cosine"}
TARGETS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SAMPLERS = {"DDPMScheduler": "ddpm", "DDIMScheduler": "ddim"}
SPACINGS = {"leading": "uniform", "trailing": "trailing"}
VARIANCES = {
    "fixed_small": "fixed_small",
    "fixed_small_log": "fixed_small",
    "fixed_large": "fixed_large",
    "learned_range": "learned",
}
NOISY_END = "with timestep_spacing trailing and this variance diffusers adds noise in the last step; here is none"
"""Their last step goes by its time, not by where it leads: only the one that begins at step 1 has no noise."""
RELATIVE_ERROR = 1e-4
"""Their betas went through float32 and, for cosine, through a ratio of neighbors."""


@dataclass(frozen=True)
class Chain:
    """A process in whole steps, and what the net of it predicts."""

    kind: str
    T: int
    beta_1: float
    beta_T: float
    zero_terminal_snr: bool
    target: str
    learned_variance: bool


def chain_from(config: Mapping[str, Any], betas: Betas, place: str) -> Chain:
    """The process that a scheduler_config.json describes.

    Args:
        config: the content of the file.
        betas: our schedules, to recognize `trained_betas`.
        place: the file, for messages.

    Raises:
        ValueError: another class of scheduler, or a process that cannot be expressed here.
    """
    _choose(SAMPLERS, config.get("_class_name", "DDPMScheduler"), "_class_name", place)
    settings = DEFAULTS | dict(config)
    beta_1, beta_T = float(settings["beta_start"]), float(settings["beta_end"])
    if settings["trained_betas"] is not None:
        trained = [float(beta) for beta in settings["trained_betas"]]
        kind, T = _recognize(trained, beta_1, beta_T, betas, place), len(trained)
    else:
        kind = _choose(KINDS, settings["beta_schedule"], "beta_schedule", place)
        T = int(settings["num_train_timesteps"])
    variance = settings["variance_type"]
    if variance == "learned":
        raise ValueError(f"{place}: variance_type must be learned_range for a learned variance, got learned")
    target = _choose(TARGETS, settings["prediction_type"], "prediction_type", place)
    if settings["rescale_betas_zero_snr"] and target == "eps":
        rule = "must be v_prediction or sample where rescale_betas_zero_snr leaves no signal in x_T"
        raise ValueError(f"{place}: prediction_type {rule}, got epsilon; no image can be read from it there")
    return Chain(
        kind=kind,
        T=T,
        beta_1=beta_1,
        beta_T=beta_T,
        zero_terminal_snr=bool(settings["rescale_betas_zero_snr"]),
        target=target,
        learned_variance=variance == "learned_range",
    )


def sampling_from(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters of `sample` that draw as this scheduler does, and what they cannot reproduce, one line each."""
    settings, notes = DEFAULTS | dict(config), []
    sampler = SAMPLERS[settings.get("_class_name", "DDPMScheduler")]
    # Their quantile is cut at sample_max_value; cut at 1 it is clipping.
    dynamic = bool(settings["thresholding"]) and settings["sample_max_value"] > 1
    found: dict[str, Any] = {
        "sampler": sampler,
        "clip_x0": bool(settings["thresholding"] or settings["clip_sample"]) and not dynamic,
        "dynamic_threshold": settings["dynamic_thresholding_ratio"] if dynamic else 0.0,
    }
    if sampler == "ddim":
        found |= {"steps": min(50, int(settings["num_train_timesteps"])), "eta": 0.0}
        if found["clip_x0"]:
            notes.append("diffusers' DDIM keeps eps_hat when it clips x0_hat; here both agree, as in its own code")
    else:
        variance = settings["variance_type"]
        found |= {"steps": int(settings["num_train_timesteps"]), "variance": VARIANCES.get(variance, "fixed_large")}
        if variance not in VARIANCES:
            notes.append(f"variance_type {variance} (the root of a logarithm in diffusers) is taken as fixed_large")
    spacing = settings["timestep_spacing"]
    found["spacing"] = SPACINGS.get(spacing, "trailing")
    if spacing not in SPACINGS or (spacing == "leading" and settings["steps_offset"]):
        exact = f"timestep_spacing {spacing} with steps_offset {settings['steps_offset']}"
        notes.append(f"{exact} is reproduced with all {settings['num_train_timesteps']} steps only")
    if ends_in_noise(settings) and sampler == "ddpm":
        notes.append(NOISY_END)
    if dynamic:
        notes.append(f"thresholds here have no upper end, there it is {settings['sample_max_value']:g}")
    elif settings["clip_sample"] and settings["clip_sample_range"] != 1:
        notes.append(f"x0_hat is clipped to [-1, 1] here, there at {settings['clip_sample_range']:g}")
    return found, notes


def ends_in_noise(config: Mapping[str, Any]) -> bool:
    """Whether a `DDPMScheduler` of diffusers, asked for fewer steps than T, leaves noise in its images."""
    return config["timestep_spacing"] == "trailing" and config["variance_type"] not in {
        "fixed_small",
        "fixed_small_log",
    }


def config_from(chain: Chain, sampling: Mapping[str, Any], betas: Betas) -> dict[str, Any]:
    """The scheduler_config.json of a `DDPMScheduler`; the inverse of `chain_from` and `sampling_from`.

    Args:
        chain: the process.
        sampling: `variance`, `clip_x0`, `dynamic_threshold` and `spacing` of the section `sample`.
        betas: our schedules; the kind sigmoid, which diffusers lacks, is written out as `trained_betas`.

    Raises:
        ValueError: a target or a spacing that diffusers does not know.
    """
    if chain.target not in TARGETS.values():
        raise ValueError(f"objective.target must be {' or '.join(TARGETS.values())} to be exported, got {chain.target}")
    if sampling["spacing"] not in SPACINGS.values():
        allowed = " or ".join(SPACINGS.values())
        raise ValueError(f"sample.spacing must be {allowed} to be exported, got {sampling['spacing']}; set it with -S")
    kinds = {kind: name for name, kind in KINDS.items()}
    written_out = None if chain.kind in kinds else list(betas(chain.kind, chain.T, chain.beta_1, chain.beta_T))
    variance = "learned_range" if chain.learned_variance else sampling["variance"]
    if variance not in VARIANCES:
        raise ValueError(f"sample.variance must be fixed_large or fixed_small for this net, got {variance}")
    return DEFAULTS | {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": chain.T,
        "beta_start": chain.beta_1,
        "beta_end": chain.beta_T,
        "beta_schedule": kinds.get(chain.kind, "linear"),
        "trained_betas": written_out,
        "prediction_type": next(name for name, target in TARGETS.items() if target == chain.target),
        "rescale_betas_zero_snr": chain.zero_terminal_snr,
        "variance_type": variance,
        "clip_sample": sampling["clip_x0"],
        "thresholding": sampling["dynamic_threshold"] > 0,
        "dynamic_thresholding_ratio": sampling["dynamic_threshold"] or DEFAULTS["dynamic_thresholding_ratio"],
        "sample_max_value": 1e6 if sampling["dynamic_threshold"] else 1.0,  # ours has no upper end
        "timestep_spacing": next(name for name, spacing in SPACINGS.items() if spacing == sampling["spacing"]),
    }


def _recognize(trained: Sequence[float], beta_1: float, beta_T: float, betas: Betas, place: str) -> str:
    for kind in ("linear", "quadratic", "cosine", "sigmoid"):
        ours = betas(kind, len(trained), beta_1, beta_T)
        if all(abs(a - b) <= RELATIVE_ERROR * b for a, b in zip(trained, ours, strict=True)):
            return kind
    rule = "must be null, or equal linear (from beta_start to beta_end), quadratic, cosine or sigmoid"
    raise ValueError(f"{place}: trained_betas {rule}, got {len(trained)} others; this process has no counterpart here")


def _choose(table: Mapping[str, str], value: Any, key: str, place: str) -> str:
    if value not in table:
        raise ValueError(f"{place}: {key} must be {', '.join(table)} to be imported, got {value}")
    return table[value]
