"""Where a run comes from, and the command line that makes it again."""

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PACKAGES = ("ddpm", "torch", "torchvision", "numpy", "scipy", "mlflow", "dvc")
# What a run changes itself, or what the reproducing command sets: a difference here is no difference of the code.
_NOT_CODE = (":(exclude)params.yaml", ":(exclude)dvc.lock", ":(exclude)results")
_NEW_CODE = ("ddpm/*.py", "dvc.yaml")  # files that are not in git yet and still decide what runs
# Settings a user may have that would make a patch which `git apply` refuses.
_PLAIN = ("-c", "core.quotepath=off", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")
_DIFF = ("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv")


@dataclass(frozen=True)
class Provenance:
    """Where a run comes from; texts are empty where there is no git, no DVC experiment or no such device."""

    commit: str
    branch: str
    dirty: bool
    diff: str  # for `git apply` on top of `commit`; bytes that are not UTF-8 are surrogates
    experiment: str
    baseline: str
    versions: dict[str, str]
    device_name: str
    num_cpus: int


def provenance(root: Path) -> Provenance:
    """Collect the origin of a run that starts now in the checkout or DVC snapshot `root`."""
    commit = base_commit(root)
    diff = _uncommitted(root, commit) if commit else ""
    return Provenance(
        commit=commit,
        branch=(_git(root, "branch", "--show-current") or "").strip(),
        dirty=bool(diff),
        diff=diff,
        experiment=os.environ.get("DVC_EXP_NAME", ""),
        baseline=os.environ.get("DVC_EXP_BASELINE_REV", ""),
        versions={"python": platform.python_version(), **_versions()},
        device_name=_gpu_names() or _processor(),
        num_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def base_commit(root: Path) -> str:
    """The commit to start from again, or "" without git.

    In a DVC experiment that is the baseline: a snapshot's own HEAD need not exist in the main checkout.
    """
    return os.environ.get("DVC_EXP_BASELINE_REV") or (_git(root, "rev-parse", "--verify", "HEAD") or "").strip()


def reproduce_command(params: Mapping[str, Any], root: Path, fetch: str = "", patch: str = "uncommitted.patch") -> str:
    """The shell command that makes the run again, whatever the checkout holds by then.

    `git stash` comes first: an applied experiment or an edited params.yaml would otherwise survive the checkout and be
    run instead. `git stash pop` brings it back.

    Args:
        params: the parameters of the run, as nested sections.
        root: the folder whose code and params.yaml run, with or without git.
        fetch: command that brings `patch`, when it is not there already; used only when code was not committed.
        patch: shell word naming the file with `Provenance.diff`.
    """
    commit = base_commit(root)
    committed = _git(root, "show", f"{commit}:./params.yaml") if commit else None
    if committed is None:  # nothing to start from: the whole parameter file is part of the command (YAML reads JSON)
        text = shlex.quote(json.dumps(_plain(params)))
        replace = f"cp params.yaml params.before.yaml && printf '%s\\n' {text} > params.yaml"
        return f"{replace} && dvc config --local core.no_scm true && dvc repro --force"
    steps = ["git stash", f"git checkout {commit}"]
    if _uncommitted(root, commit):
        steps += [fetch] * bool(fetch) + [f"git apply --whitespace=nowarn {patch}"]
    items = overrides(YAML(typ="safe", pure=True).load(committed) or {}, params)
    steps.append(" ".join(["dvc exp run --force", *(f"-S {shlex.quote(item)}" for item in items)]))
    return " && ".join(steps)


def overrides(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The `dvc exp run -S` items (Hydra's override syntax) that turn one tree of parameters into another.

    One item for every leaf that differs; a list is a leaf. `+` adds a key and `~` removes one.
    """
    old, new = flatten(before), flatten(after)
    items = [f"~{key}" for key in old if key not in new]
    for key, value in new.items():
        if key not in old:
            items.append(f"+{key}={_hydra(value)}")
        elif not _same(old[key], value):
            items.append(f"{key}={_hydra(value)}")
    return items


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested sections as one level: {"train": {"steps": 5}} becomes {"train.steps": 5}; a list is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in _plain(tree).items():
        if isinstance(value, dict):
            leaves |= {f"{key}.{name}": leaf for name, leaf in flatten(value).items()}
        else:
            leaves[str(key)] = value
    return leaves


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _same(a: Any, b: Any) -> bool:
    # 1 and 1.0 are the same number, but true is not 1.
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _hydra(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ",".join(_hydra(item) for item in value) + "]"
    return repr(value) if isinstance(value, int | float) else _hydra_text(str(value))


def _hydra_text(text: str) -> str:
    # Quoted, and each backslash doubled that stands before a quote or the end; other backslashes mean themselves.
    quoted = ""
    for index, part in enumerate(text.split('"')):
        slashes = len(part) - len(part.rstrip("\\"))
        quoted += ('\\"' if index else "") + part + "\\" * slashes
    return f'"{quoted}"'


def _uncommitted(root: Path, commit: str) -> str:
    changed = _git(root, *_PLAIN, *_DIFF, commit, "--", ".", *_NOT_CODE) or ""
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", *_NEW_CODE) or ""
    return changed + "".join(_new_file(root, name) for name in new.split("\0") if name)


def _new_file(root: Path, name: str) -> str:
    return _git(root, *_PLAIN, *_DIFF, "--no-index", "--", "/dev/null", name, done=1) or ""  # 1: they differ


def _git(root: Path, *args: str, done: int = 0) -> str | None:
    return _output(["git", *args], root, done)


def _output(command: list[str], folder: Path, done: int = 0) -> str | None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):  # the program is not installed, or its disk hangs
        return None
    return result.stdout.decode(errors="surrogateescape") if result.returncode == done else None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # runs from a checkout that was not installed
    return found


def _gpu_names() -> str:
    lines = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], Path.cwd()) or ""
    return ", ".join(line.strip() for line in lines.splitlines() if line.strip())


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
