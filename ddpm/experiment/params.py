"""The parameter file: every number that can change a result, validated as a whole before anything starts.

There are no defaults here: a default inside a model would be a parameter that nobody tracks. The file is read with
ruamel.yaml, the parser DVC uses, so that `-S train.learning_rate=1e-05` is a number for both.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

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


def load(path: Path, overrides: Sequence[str] = ()) -> Params:
    """Read, override and validate a parameter file.

    Args:
        path: a YAML file with every section.
        overrides: `section.key=value` items; values are read as YAML.

    Raises:
        ValueError: every problem of the file, one line each.
    """
    return validate(read(path, overrides), path.name)


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The parsed file with overrides applied, not yet validated."""
    try:
        tree = _yaml().load(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such parameter file; write one with `python -m ddpm recipe quick`") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: must be UTF-8 text") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ValueError(f"{place}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: must hold sections such as `train:`, got {type(tree).__name__}")
    for override in overrides:
        _override(tree, override)
    return tree


def validate(tree: dict[str, Any], place: str = "params.yaml") -> Params:
    """Check types, ranges and the rules between fields.

    Raises:
        ValueError: every problem, one line each: place, rule, value.
    """
    from ddpm.experiment.rules import problems

    lines: list[str] = []
    try:
        params = Params.model_validate(tree)
        sections = {name: getattr(params, name) for name in Params.model_fields}
    except ValidationError as error:
        lines = [_line(place, item) for item in error.errors()]
        wrong = {str(item["loc"][0]) for item in error.errors()}
        sections = {n: section_type(n).model_validate(tree[n]) for n in Params.model_fields if n not in wrong}
    lines += [f"{place}: {line}" for line in problems(sections)]
    if lines:
        raise ValueError("\n".join(lines))
    return params


def section_type(name: str) -> type[Section]:
    """The model of one section, by its name in the file."""
    annotation: Any = Params.model_fields[name].annotation
    found: type[Section] = annotation
    return found


def override_text(text: str, overrides: Sequence[str]) -> str:
    """The YAML text with parameters changed and comments kept; the text itself when nothing is changed."""
    if not overrides:
        return text
    editor = YAML(typ="rt")
    editor.width = 200
    tree = editor.load(text)
    for override in overrides:
        _override(tree, override)
    editor.default_flow_style = None  # lists of numbers stay on their line
    out = io.StringIO()
    editor.dump(tree, out)
    return out.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    return yaml


def _override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not separator or not dot or "." in name:
        raise ValueError(f"-S {override}: must read section.key=value, for example schedule.beta_T=0.03")
    if not isinstance(tree.get(section), dict) or name not in tree[section]:
        raise ValueError(f"-S {override}: there is no parameter {section}.{name}{_suggestion(section, name)}")
    tree[section][name] = _yaml().load(text)


def _line(place: str, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    kind, value = error["type"], error["input"]
    if kind == "missing":
        return f"{place}: {path} is missing; every parameter must be given (see pipeline/recipes/quick.yaml)"
    if kind == "extra_forbidden":
        section, _, name = path.partition(".")
        return f"{place}: {path} is not a parameter{_suggestion(section, name)}"
    if path == "schedule.beta_T" and kind in {"greater_than", "less_than"}:
        return f"{place}: schedule.beta_T must be in (beta_1, 1), got {value!r}"
    rule = error["msg"].replace("Input should be", "must be").replace("Input should", "must")
    return f"{place}: {path} {rule[0].lower() + rule[1:]}, got {value!r}"


def _suggestion(section: str, name: str) -> str:
    import difflib

    if section not in Params.model_fields:
        near = difflib.get_close_matches(section, Params.model_fields, n=1)
        return (
            f"; did you mean the section `{near[0]}`?"
            if near
            else f"; the sections are {', '.join(Params.model_fields)}"
        )
    keys = section_type(section).model_fields
    near = difflib.get_close_matches(name, keys, n=1)
    return f"; did you mean {section}.{near[0]}?" if near else f"; {section} has {', '.join(keys)}"
