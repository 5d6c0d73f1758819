"""Fingerprints: hashes that are equal exactly when work can be continued or runs belong together.

Three of them, because three questions are asked:
- `static_fingerprint`: was this stage asked to do the same? (known before anything runs)
- `work_fingerprint`: may unfinished work of this stage be continued? (also looks at the bytes of its inputs)
- `run_key`: do two stages belong to the same MLflow run?
Code and parameters are those of the folder given, which in DVC's snapshots is the current folder, not $DVC_ROOT.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.digest import file_sha256
from ddpm.experiment.stages import STAGES

PACKAGE = Path(__file__).resolve().parents[1]  # the folder `ddpm` that is running


def code_digest(stage: str, root: Path) -> str:
    """The sha256 of a stage's code: the Python files among its deps in <root>/dvc.yaml, by path and content.

    Without a dvc.yaml every file of the running package counts, so that code never changes unseen.

    Raises:
        ValueError: dvc.yaml does not know the stage, or lists a file that does not exist.
    """
    dvc_yaml = root / "dvc.yaml"
    if not dvc_yaml.is_file():
        return _digest([(path.relative_to(PACKAGE.parent).as_posix(), file_sha256(path)) for path in _python(PACKAGE)])
    deps = _stage_deps(dvc_yaml.read_text())
    if stage not in deps:
        raise ValueError(f"dvc.yaml: stages must hold `{stage}`, got {', '.join(deps) or 'none'}; add it")
    files: list[Path] = []
    for dep in deps[stage]:
        if dep.endswith(".py") and not (root / dep).is_file():
            raise ValueError(f"dvc.yaml: {stage}.deps must be existing files, got {dep}; correct the path")
        files += _python(root / dep)
    return _digest(sorted({(path.relative_to(root).as_posix(), file_sha256(path)) for path in files}))


def static_fingerprints(params: Mapping[str, Any], root: Path) -> dict[str, str]:
    """For every stage the hash of its parameters, code and torch version, and of the stages above it.

    The stages above belong to it: the same `sample` section with other weights is another piece of work. The device
    does not: DVC serves its cache to every device, and some stages of one run may use the GPU and others not.
    """
    prints: dict[str, str] = {}
    for name, stage in STAGES.items():
        prints[name] = _digest([_own(name, params, root), [prints[parent] for parent in stage.upstream]])
    return prints


def static_fingerprint(stage: str, params: Mapping[str, Any], root: Path) -> str:
    """The entry of one stage in `static_fingerprints`."""
    return static_fingerprints(params, root)[stage]


def work_fingerprint(
    stage: str, params: Mapping[str, Any], inputs: Sequence[Path], root: Path, device_type: str
) -> str:
    """Hash of a stage's own parameters, code, torch version and device type, and of the bytes of its inputs.

    Unlike `static_fingerprint` it does not look at the stages above: they matter only through the bytes they wrote.
    """
    return _digest([_own(stage, params, root), device_type, [file_sha256(path) for path in inputs]])


def run_key(params: Mapping[str, Any], root: Path) -> str:
    """Hash of the static fingerprints of all stages: equal for all stages of one run."""
    return _digest(static_fingerprints(params, root))


def _own(stage: str, params: Mapping[str, Any], root: Path) -> list[Any]:
    sections = {name: params[name] for name in STAGES[stage].sections}
    return [stage, sections, code_digest(stage, root), version("torch")]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _python(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    return [path] if path.suffix == ".py" else []


@lru_cache(maxsize=8)  # by content: a run asks a dozen times, and the pure Python parser is slow
def _stage_deps(dvc_yaml: str) -> dict[str, tuple[str, ...]]:
    tree = YAML(typ="safe", pure=True).load(dvc_yaml) or {}
    return {name: tuple(stage.get("deps") or ()) for name, stage in (tree.get("stages") or {}).items()}
