"""Prove that the results can be made again: run the stages once more and compare the bytes.

`dvc status` cannot prove it: after a forced run it calls whatever came out up to date.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
from ruamel.yaml import YAML

DVC = (sys.executable, "-m", "dvc")
Digests: TypeAlias = Mapping[str, str]


def digests(root: Path) -> dict[str, str]:
    """The sha256 of dvc.lock and of every file under results/, by path; pages hold timings and do not count."""
    kept = sorted(path for path in (root / "results").rglob("*") if path.is_file() and path.suffix != ".html")
    files = [root / "dvc.lock", *kept]
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def outputs(lock: Path) -> dict[str, dict[str, str]]:
    """Stage -> output -> digest, as dvc.lock records them; big arrays are compared through these."""
    stages: dict[str, Any] = YAML(typ="safe").load(lock)["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def differences(before: Digests, after: Digests) -> list[str]:
    """The paths whose bytes differ, among them those that only one side has."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def table(stages: Iterable[str], before: Mapping[str, Digests], after: Mapping[str, Digests]) -> list[str]:
    """One line per stage: `same`, or `different` with the outputs that are."""
    lines = []
    for stage in stages:
        changed = differences(before.get(stage, {}), after.get(stage, {}))
        lines.append(f"{stage:<12}{'different: ' + ', '.join(changed) if changed else 'same'}")
    return lines


def require_current(stages: Sequence[str]) -> None:
    """Refuse to start from results that are already out of date: their difference would prove nothing.

    Raises:
        click.ClickException: `dvc status` names a change, or DVC fails.
    """
    status = subprocess.run([*DVC, "status", "--json", *stages], capture_output=True, text=True, check=False)
    if status.returncode != 0:
        raise click.ClickException(f"dvc status failed: {status.stderr.strip()}")
    changed = json.loads(status.stdout)
    if changed:
        raise click.ClickException(f"results must be up to date, got changes in {', '.join(changed)}; run `dvc repro`")


@click.command()
@click.argument("stages", nargs=-1)
def main(stages: tuple[str, ...]) -> None:
    """Run STAGES (all by default) again and compare dvc.lock and results/ byte for byte; exit 1 if they differ.

    Named stages run alone, on the outputs that their upstream stages left.

    Example:

        python -m pipeline.verify sample evaluate
    """
    root, lock = Path.cwd(), Path("dvc.lock")
    if not lock.exists():
        raise click.ClickException("dvc.lock must be in the current folder; run `dvc repro` in the root of the project")
    require_current(stages)
    files, outs = digests(root), outputs(lock)
    single = ["--single-item"] if stages else []
    if subprocess.run([*DVC, "repro", "--force", *single, *stages], stdout=sys.stderr, check=False).returncode != 0:
        raise click.ClickException("the stages must run to their end; the message of `dvc repro` above says why")
    click.echo("\n".join(table(stages or outs, outs, outputs(lock))))
    changed = differences(files, digests(root))
    if changed:
        raise click.ClickException(f"these bytes differ: {', '.join(changed)}; see them with `git diff`")
    click.echo(f"dvc.lock and {len(files) - 1} files of results/ are the same bytes as before")


if __name__ == "__main__":
    main()
