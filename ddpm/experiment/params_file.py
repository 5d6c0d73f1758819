"""Reading params.yaml: parse as DVC does, override, validate as a whole, and answer in the user's terms."""

import difflib
import io
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpm.experiment.params import Params, section_type
from ddpm.experiment.rules import problems


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


def replace_section(text: str, section: str, values: Mapping[str, Any], comment: str) -> str:
    """The YAML text with one section written anew under a comment; all others stay as they are, byte for byte."""
    lines = [
        f"{section}:".ljust(28) + f"# {comment}",
        *(f"  {name}: {_scalar(value)}" for name, value in values.items()),
    ]
    written, found = re.subn(rf"(?m)^{section}:.*\n(?:  .*\n)+", lambda _: "\n".join(lines) + "\n", text)
    assert found == 1, f"the section {section} is there {found} times"
    return written


def _scalar(value: Any) -> str:
    """As the recipes write it: `false`, and 0.000001 without an exponent, which some readers take for a string."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


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
    rule = error["msg"].replace("Input should be", "must be").replace("should have", "must have")
    rule = rule.replace("Input should", "must").removeprefix("List ").partition(" after validation")[0]
    return f"{place}: {path} {rule[0].lower() + rule[1:]}, got {value!r}"


def _suggestion(section: str, name: str) -> str:
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
