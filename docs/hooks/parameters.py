"""The page of the parameters, from their pydantic models, the comments of params.yaml and the stage table."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from brought import ROOT
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from ddpm.experiment.params import Params, section_type
from ddpm.experiment.stages import STAGES

BOUNDS = {Ge: ("ge", "at least {}"), Gt: ("gt", "above {}"), Le: ("le", "at most {}"), Lt: ("lt", "below {}")}
NAMES = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}
PLURALS = {int: "integers", float: "numbers", str: "texts"}
RECIPES = ROOT / "pipeline" / "recipes"


def page() -> str:
    """One section for each section of params.yaml, with a table of its parameters."""
    values = load(ROOT / "params.yaml")
    return "\n\n".join(section(name, values[name]) for name in Params.model_fields)


def section(name: str, values: dict[str, Any]) -> str:
    """What a section is for, who reads it, and its parameters."""
    model = section_type(name)
    readers = " and ".join(f"`{stage.name}`" for stage in STAGES.values() if name in stage.sections)
    head = comments().get(name, "")
    said = f" In `params.yaml`: {head}." if head and not head.startswith("read by") else ""
    lines = [f"## {name}", "", plain(model.__doc__ or ""), ""]
    stages = "the stages" if " and " in readers else "the stage"
    lines += [f"Read by {stages} {readers}." + said, ""]
    lines += ["| parameter | value | allowed | comment |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        comment = escaped(comments().get(f"{name}.{key}", ""))
        lines.append(f"| `{name}.{key}` | `{shown(values[key])}` | {allowed(field)} | {comment} |")
    return "\n".join(lines)


def plain(docstring: str) -> str:
    """A docstring without its indentation; names of the same section become code."""
    return "\n".join(line.strip() for line in docstring.strip().splitlines())


def allowed(field: FieldInfo) -> str:
    """The type and range of a parameter in words."""
    words = kind(field.annotation)
    for bound in field.metadata:
        for law, (attribute, text) in BOUNDS.items():
            if isinstance(bound, law):
                limit = getattr(bound, attribute)
                words += ", " + text.format(f"{limit:,}" if isinstance(limit, int) else limit)
        if isinstance(bound, MinLen) and bound.min_length > 1:
            words += f", {bound.min_length} of them"
        if isinstance(bound, MaxLen) and bound.max_length > 2:
            words += f", at most {bound.max_length}"
        if pattern := getattr(bound, "pattern", None):
            words += f" that matches `{pattern}`"
    return words


def kind(annotation: Any) -> str:
    """A type in words; the values of a choice."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        return f"list of {PLURALS[inner]}" if inner in PLURALS else f"list of {kind(inner)}"
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(kind(part) for part in get_args(annotation))
    return NAMES[annotation]


def comments() -> dict[str, str]:
    """`section` and `section.key` -> the comment on its line of params.yaml."""
    found, section = {}, ""
    for line in (ROOT / "params.yaml").read_text().splitlines():
        if match := re.match(r"( *)(\w+):([^#]*)(?:# (.*))?$", line):
            indent, key, _, comment = match.groups()
            section = section if indent else key
            if comment:
                found[f"{section}.{key}" if indent else key] = comment.strip()
    return found


def escaped(text: str) -> str:
    """Text within a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def shown(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(shown(item) for item in value)}]"
    return str(value)


def recipes() -> str:
    """The parameters in which the recipes differ, one column each."""
    files = sorted(RECIPES.glob("*.yaml"))
    trees = {path.stem: load(path) for path in files}
    lines = ["| parameter | " + " | ".join(f"`{name}`" for name in trees) + " |", "|---" * (len(trees) + 1) + "|"]
    for name in Params.model_fields:
        for key in section_type(name).model_fields:
            row = [shown(tree[name][key]) for tree in trees.values()]
            if len(set(row)) > 1:
                lines.append(f"| `{name}.{key}` | " + " | ".join(row) + " |")
    return "\n".join(lines)


def load(path: Any) -> dict[str, dict[str, Any]]:
    """A parameter file as plain values."""
    tree: dict[str, dict[str, Any]] = YAML(typ="safe").load(path)
    return tree
