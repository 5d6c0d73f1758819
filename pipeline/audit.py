"""Does dvc.yaml list what the code reads? DVC does not follow Python imports, so a list by hand goes stale silently.

For each stage the `ddpm/**.py` files among its deps are compared with the files that it imports, and its other deps,
its sections of params.yaml and its outs with what `ddpm.experiment.stages` declares.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from ddpm.experiment.stages import STAGES, Stage
from ddpm.experiment.workspace import atomic_path
from pipeline.imports import measure

PARAMS_FILE = "params.yaml"


def audit(listed: Mapping[str, Any], declared: Mapping[str, Stage], files: Mapping[str, Sequence[str]]) -> list[str]:
    """All differences between the stages of dvc.yaml and what the code says, as lines to print; empty if none.

    Args:
        listed: the mapping under `stages` in dvc.yaml.
        declared: the stages as the code declares them.
        files: for each declared stage, the code files that can change its result.
    """
    lines = [f"dvc.yaml: stages misses {name}; add it" for name in declared if name not in listed]
    lines += [f"dvc.yaml: stages.{name} is no stage of ddpm; remove it" for name in listed if name not in declared]
    for name, stage in declared.items():
        entry = listed.get(name)
        if entry is not None:
            inputs = [path.as_posix() for path in stage.inputs]
            lines += _differences(f"stages.{name}.deps", _deps(entry), [*inputs, *files[name]])
            lines += _differences(f"stages.{name}.params", _sections(entry), stage.sections)
            lines += _differences(f"stages.{name}.outs", _outs(entry, stage.figures), _results(stage))
    return lines


def rewrite(deps: CommentedSeq, files: Iterable[str]) -> None:
    """Make the code files among the deps of a stage the given ones, in place; other deps and all comments stay."""
    files = set(files)
    deps.fa.set_block_style()  # an empty list was written as []
    for index in reversed(range(len(deps))):
        if _is_code(deps[index]) and deps[index] not in files:
            del deps[index]
    for file in sorted(files.difference(deps)):
        later = (index for index, dep in enumerate(deps) if _is_code(dep) and dep > file)
        deps.insert(next(later, len(deps)), file)


def _is_code(dep: str) -> bool:
    return dep.startswith("ddpm/") and dep.endswith(".py")


def _deps(entry: Mapping[str, Any]) -> list[str]:
    # The small files under results/ are for readers; that one stage draws another's numbers is said by `upstream`.
    return [dep for dep in entry.get("deps", []) if not dep.startswith("results/")]


def _sections(entry: Mapping[str, Any]) -> list[str]:
    return _keys(key for param in entry.get("params", []) for key in (_of_file(param) or [param]))


def _outs(entry: Mapping[str, Any], folder: Path | None) -> list[str]:
    # A folder of pictures is declared once and may be listed picture by picture, so that `dvc plots` shows each.
    outs = map(Path, _keys(out for kind in ("outs", "metrics", "plots") for out in entry.get(kind, [])))
    return [(folder if folder and folder in out.parents else out).as_posix() for out in outs]


def _results(stage: Stage) -> list[str]:
    small = [path for path in (stage.numbers, stage.curve, stage.figures) if path is not None]
    return [path.as_posix() for path in (*stage.outputs, *small)]


def _of_file(param: object) -> Sequence[str] | None:
    return param.get(PARAMS_FILE) if isinstance(param, Mapping) else None


def _keys(entries: Iterable[object]) -> list[str]:
    """Names of entries that are either plain strings or, with options, one-key mappings."""
    return [next(iter(entry)) if isinstance(entry, Mapping) else str(entry) for entry in entries]


def _differences(place: str, listed: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    missing, surplus = sorted(set(wanted).difference(listed)), sorted(set(listed).difference(wanted))
    for entries, what in ((missing, "misses; add"), (surplus, "lists what the stage does not use; remove")):
        if entries:
            yield f"dvc.yaml: {place} {what}"
            yield from (f"      - {entry}" for entry in entries)


def round_trip() -> YAML:
    """A parser that keeps comments, quotes and the indentation of dvc.yaml."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


@click.command()
@click.option("--write", is_flag=True, help="Rewrite the code deps in dvc.yaml; comments and other deps stay.")
def main(write: bool) -> None:
    """Compare dvc.yaml's code deps and params with what each stage imports and reads.

    Example:

        python -m pipeline.audit --write
    """
    path = Path("dvc.yaml")
    if not path.exists():
        raise click.ClickException("dvc.yaml must be in the current folder; change to the root of the project")
    yaml = round_trip()
    document: CommentedMap = yaml.load(path)
    try:
        files = measure(list(STAGES), Path.cwd())
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if write:
        for name in set(files).intersection(document["stages"]):
            rewrite(document["stages"][name].setdefault("deps", CommentedSeq()), files[name])
        with atomic_path(path) as unfinished:
            yaml.dump(document, unfinished)
    differences = audit(document["stages"], STAGES, files)
    if differences:
        click.echo("\n".join(differences))
        raise click.ClickException("dvc.yaml and the code differ; `python -m pipeline.audit --write` mends the deps")
    click.echo(f"dvc.yaml: deps and params of {len(files)} stages agree with the code")


if __name__ == "__main__":
    main()
