"""Which files of ddpm a stage loads: measured by importing them, in a process of its own.

The study itself never imports torch, so the measuring happens in a child: `python -m pipeline.imports STAGE...`
prints one JSON object, stage -> files.
"""

import ast
import importlib.util
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

CANNOT_CHANGE_RESULTS = {
    "ddpm.__main__": "finds the command by its name",
    "ddpm.cli": "parses the command line and hands the numbers of params.yaml, which DVC tracks itself, to the engine",
    "ddpm.experiment": "checks, locks, resumes and records a run; what it reads from params.yaml DVC tracks itself",
    "ddpm.types": "names of shapes for readers and for the type checker",
}
"""Module or package -> why an edit of it need not rerun a stage."""


def measure(stages: Sequence[str], root: Path) -> dict[str, list[str]]:
    """The files under root that can change a result, for each stage, sorted.

    Raises:
        ValueError: a stage's modules cannot be imported.
    """
    command = [sys.executable, "-m", "pipeline.imports", *stages]
    child = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"stages {', '.join(stages)} must be importable, got {reason}; try: {' '.join(command[1:])}")
    files: dict[str, list[str]] = json.loads(child.stdout)
    return files


def load(stage: str, root: Path) -> list[str]:
    """Import a stage's command and engine as if for the first time; list the files that can change its result."""
    for name in [name for name in sys.modules if _is_ours(name)]:
        del sys.modules[name]
    waiting = ["ddpm.__main__", f"ddpm.cli.{stage}", *_workshop(stage)]
    searched = set()
    while waiting:
        for name in waiting:
            importlib.import_module(name)
        loaded = {name: module for name, module in sys.modules.items() if _is_ours(name) and name not in searched}
        searched |= set(loaded)
        waiting = [
            name
            for module in loaded.values()
            if can_change_results(module.__name__) or module.__name__ == f"ddpm.cli.{stage}"
            for name in lazy_imports(module)
        ]
    modules = [sys.modules[name] for name in searched if can_change_results(name)]
    files = [Path(module.__file__) for module in modules if module.__file__]
    return sorted(file.resolve().relative_to(root.resolve()).as_posix() for file in files if not is_bare(file))


def _workshop(stage: str) -> list[str]:
    """The engine module of a stage's name, or all modules of a package of its name: it finds them by name."""
    if _is_module(f"ddpm.engine.{stage}"):
        return [f"ddpm.engine.{stage}"]
    package = importlib.import_module(f"ddpm.{stage}")
    return [f"ddpm.{stage}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


def can_change_results(name: str) -> bool:
    """Whether an edit of this module can change a number, by CANNOT_CHANGE_RESULTS."""
    return not any(name == harmless or name.startswith(f"{harmless}.") for harmless in CANNOT_CHANGE_RESULTS)


def is_bare(file: Path) -> bool:
    """Whether a file is a package marker with nothing but a docstring and constants such as `__version__`."""
    if file.name != "__init__.py":
        return False
    body = ast.parse(file.read_text()).body
    return all(isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Constant) for node in body)


def lazy_imports(module: ModuleType) -> Iterator[str]:
    """The modules of ddpm that functions of a module import when they are called."""
    if not module.__file__:
        return
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inside = [f for f in ast.walk(ast.parse(Path(module.__file__).read_text())) if isinstance(f, functions)]
    for node in (node for function in inside for node in ast.walk(function)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import name`: the name may be a module of its own or something inside the package
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if _is_ours(name) and _is_module(name))


def _is_ours(name: str) -> bool:
    return name == "ddpm" or name.startswith("ddpm.")


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the parent is a module, not a package
        return False


if __name__ == "__main__":
    json.dump({stage: load(stage, Path.cwd()) for stage in sys.argv[1:]}, sys.stdout)
