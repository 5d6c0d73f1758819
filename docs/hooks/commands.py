"""The page of the commands, from click: help, example and options of each, and the targets of the Makefile."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import cleandoc

import click
from brought import ROOT

from ddpm.__main__ import COMMANDS, main

CODES = {"&": "&amp;", "<": "&lt;", "|": "&#124;", "*": "&#42;", "_": "&#95;", "$": "&#36;"}
STUDY = ("report", "results", "verify", "audit")
"""Modules of the package pipeline that are commands."""


def page() -> str:
    """Targets of make, then commands of ddpm in the order of the pipeline, then those of the study."""
    context = click.Context(main)
    parts = ["## make", targets()]
    for name, line in COMMANDS.items():
        command = main.get_command(context, name)
        parts += [f"## {name}", f"*{line}*", *described(command, f"python -m ddpm {name}", 3)]
    for name in STUDY:
        command = import_module(f"pipeline.{name}").main
        parts += [f"## pipeline.{name}", *described(command, f"python -m pipeline.{name}", 3)]
    return "\n\n".join(parts)


def targets() -> str:
    """The targets of the Makefile that say what they do."""
    found = re.findall(r"^([a-z]+):.*## (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)
    return "\n".join(["| target | does |", "|---|---|", *(f"| `make {name}` | {text} |" for name, text in found)])


def described(command: click.Command | None, name: str, level: int) -> list[str]:
    """Help, usage and options of a command; of a group also its commands."""
    if command is None:
        raise ValueError(f"{name}: must be a command, got none; look at COMMANDS")
    context = click.Context(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [*paragraphs(command.help or ""), f"```text\n{' '.join(usage.split())}\n```"]
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            title = f"{name.removeprefix('python -m ').removeprefix('ddpm ')} {sub}"
            parts += [f"{'#' * level} {title}", *described(inner, f"{name} {sub}", level + 1)]
        return parts
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(context)) and "--help" not in record[0]]
    if rows:
        cells = [f"| {spelled(names)} | {escaped(text)} |" for names, text in rows]
        parts.append("\n".join(["| option | meaning |", "|---|---|", *cells]))
    return parts


def paragraphs(text: str) -> list[str]:
    r"""The help as Markdown: what stands after \b is an example, with the lines that introduce it as text."""
    parts = []
    for block in cleandoc(text).split("\n\n"):
        if not block.startswith("\b"):
            parts.append(escaped(" ".join(block.split())))
            continue
        lines: list[str] = []
        for line in block.removeprefix("\b").strip("\n").splitlines():
            if line.startswith(" "):
                lines.append(line[2:])
            else:
                parts += example(lines)
                parts.append(escaped(line))
                lines = []
        parts += example(lines)
    return parts


def example(lines: list[str]) -> list[str]:
    """A block of shell, if there are any lines."""
    return ["```sh\n" + "\n".join(lines) + "\n```"] if lines else []


def spelled(names: str) -> str:
    """`-S, --set KEY=VALUE` as code; choices may break at their bars."""
    return f"<code>{escaped(names).replace('|', '|<wbr>')}</code>"


def escaped(text: str) -> str:
    """Text within a cell of a table: no bars, no HTML, no emphasis, no formula."""
    for character, code in CODES.items():
        text = text.replace(character, code)
    return text
