"""Experiments side by side: the parameters in which they differ and the numbers that came out."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

MISSING = "-"


@dataclass(frozen=True)
class Experiment:
    """One column of the report; keys of `metrics` begin with the stem of their file."""

    name: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of nested mappings under dotted keys; lists are leaves."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def experiments(shown: Sequence[Mapping[str, Any]]) -> list[Experiment]:
    """Workspace, commits and experiments from the JSON of `dvc exp show`, in its order, without unreadable ones."""
    rows: list[Experiment] = []
    for commit in shown:
        runs = [run["revs"][0] for run in commit["experiments"] or [] if run["revs"]]
        rows += [_experiment(row) for row in (commit, *runs) if row.get("data")]
    return rows


def table(columns: Sequence[Experiment]) -> list[list[str]]:
    """A header, one column for each experiment, and one row for each parameter and each metric in which they differ.

    Without anything to compare, all metrics are shown.
    """
    params = _differing(_side_by_side([column.params for column in columns]))
    metrics = _side_by_side([column.metrics for column in columns])
    if len(columns) > 1:
        metrics = _differing(metrics)
    rows = [[key, *map(_show, values)] for key, values in (*params, *metrics)]
    return [["", *(column.name for column in columns)], *rows]


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, for a terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _side_by_side(trees: Sequence[Mapping[str, object]]) -> list[tuple[str, list[object]]]:
    keys = dict.fromkeys(key for tree in trees for key in tree)
    return [(key, [tree.get(key, MISSING) for tree in trees]) for key in keys]


def _differing(rows: Iterable[tuple[str, list[object]]]) -> list[tuple[str, list[object]]]:
    return [(key, values) for key, values in rows if any(value != values[0] for value in values)]


def _experiment(row: Mapping[str, Any]) -> Experiment:
    data, rev = row["data"], row["rev"]
    params = {key: value for file in data["params"].values() for key, value in flatten(file.get("data") or {})}
    metrics = {
        key: value
        for path, file in data["metrics"].items()
        for key, value in flatten(file.get("data") or {}, f"{PurePosixPath(path).stem}.")
        if isinstance(value, int | float)
    }
    return Experiment(row.get("name") or (rev if rev == "workspace" else rev[:7]), params, metrics)


def _show(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@click.group(invoke_without_command=True)
@click.option("--markdown", is_flag=True, help="Print a Markdown table instead of aligned text.")
@click.option("--all-commits", is_flag=True, help="Show the experiments of all commits, not of the newest alone.")
@click.pass_context
def main(ctx: click.Context, markdown: bool, all_commits: bool) -> None:
    """Show experiments side by side: the parameters and metrics in which they differ.

    Example:

        python -m pipeline.report --markdown
    """
    if ctx.invoked_subcommand is not None:
        return
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *(["--all-commits"] if all_commits else [])]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        raise click.ClickException(f"`dvc exp show` failed: {shown.stderr.strip()}")
    click.echo((as_markdown if markdown else as_text)(table(experiments(json.loads(shown.stdout)))))


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results/compare.html"),
    show_default=True,
    help="The page, one file with everything in it.",
)
def compare(names: tuple[str, ...], out: Path) -> None:
    """Put experiments side by side on one page: parameters, metrics, curves, samples of the same seeds.

    A name is a DVC experiment, a git revision, or `workspace`, the files as they are; metrics are compared with those
    of the first name.

    Example:

        python -m pipeline.report compare workspace beta --out work/beta.html
    """
    from ddpm.experiment.workspace import write_bytes
    from ddpm.report.page import render
    from pipeline.compare import page, read

    try:
        html = render(page([read(name, Path()) for name in names]))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    write_bytes(out, html.encode())
    click.echo(f"{out}: {', '.join(names)} side by side. Open it in a browser")


if __name__ == "__main__":
    main()
