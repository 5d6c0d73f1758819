"""The shape of the repository: layers, imports, sizes, and files that must agree with each other."""

import ast
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", ".dvc", "benchmarks", "ddpm", "docs", "notebooks", "pipeline", "results", "tests")
NOT_OURS = {"tmp", "cache", "__pycache__"}  # of .dvc and of Python
STUDY = ("audit", "verify", "report", "results")


def files(pattern: str = "*") -> list[Path]:
    """The files of the repository, found without git, so that the tests also pass in an unpacked archive."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern)]
    found = [path for path in (*ROOT.glob(pattern), *inside) if path.is_file()]
    return [path for path in found if not NOT_OURS.intersection(path.relative_to(ROOT).parts)]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_rooms_import_in_one_direction():
    finished = run("-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())")
    assert finished.returncode == 0, finished.stdout


def test_help_imports_nothing_heavy():
    finished = run("-X", "importtime", "-m", "ddpm", "--help")
    assert finished.returncode == 0, finished.stderr
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in finished.stderr.splitlines()}
    assert "ddpm" in imported  # the parsing works
    assert not imported & {"torch", "mlflow", "numpy", "pydantic", "sklearn", "matplotlib"}


def test_help_answers_at_once():
    def seconds() -> float:
        started = time.perf_counter()
        assert run("-m", "ddpm", "--help").returncode == 0
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.3


def test_study_imports_no_torch():
    modules = ", ".join(f"pipeline.{name}" for name in STUDY)
    finished = run("-c", f"import sys, {modules}; sys.exit(bool({{'torch', 'mlflow'}} & set(sys.modules)))")
    assert finished.returncode == 0, finished.stderr


def test_dvc_yaml_lists_what_the_code_reads():
    finished = run("-m", "pipeline.audit")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_params_are_the_quick_recipe():
    same = (ROOT / "params.yaml").read_bytes() == (ROOT / "pipeline/recipes/quick.yaml").read_bytes()
    assert same, "params.yaml must be the recipe `quick`; `python -m ddpm recipe quick` writes it"


def test_no_parameter_is_invisible_to_dvc():
    """DVC's run cache ignores every key of these names, in params too, and restores wrong outputs (DVC issue 10296)."""
    sections = YAML(typ="safe").load(ROOT / "params.yaml")
    keys = {key for values in sections.values() for key in values} | set(sections)
    assert not keys & {"size", "nfiles"}


# One letter of each in brackets, so that this file does not match itself.
REGISTRY = r"py[p]i\.org|pythonh[o]sted|registry\.[n]pmjs|download\.pyt[o]rch"
MACHINE = r"(?<![\w.$}>)*])/(w[o]rk|t[m]p|r[o]ot|h[o]me|o[p]t|U[s]ers)/\w"  # an absolute path, not the end of another


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for path in files():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:  # a picture
            continue
        found += [
            f"{path.relative_to(ROOT)}: {line.strip()}" for line in lines if re.search(f"{REGISTRY}|{MACHINE}", line)
        ]
    assert not found


def test_machine_paths_are_seen():
    assert all(re.search(MACHINE, line) for line in ("/" + "tmp/a", "--out /" + "home/me", '"/' + 'work/x"'))
    assert not any(re.search(MACHINE, line) for line in ("/" + "work/", "runs/" + "work/a", "$DVC_ROOT/" + "work/a"))


def test_python_files_are_short():
    assert not [path.name for path in files("*.py") if len(path.read_text().splitlines()) > 300]


def unsafe_calls(source: str) -> Iterator[str]:
    """Calls that run what a file or a string says: unpickling, PyYAML's loaders, the shell."""
    required = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            yield from (f"line {node.lineno}: import {name}" for name in names if name in {"yaml", "pickle", "dill"})
        if not isinstance(node, ast.Call):
            continue
        constants = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
        name = ast.unparse(node.func)
        if constants.get("shell") is True or name == "os.system":
            yield f"line {node.lineno}: {name} through a shell"
        if name in required and constants.get(required[name][0]) is not required[name][1]:
            yield f"line {node.lineno}: {name} without {'='.join(map(str, required[name]))}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("torch.load(f)", 1),
        ("torch.load(f, weights_only=False)", 1),
        ("torch.load(f, weights_only=True)", 0),
        ("np.load(p, mmap_mode='r')", 1),
        ("np.load(p, allow_pickle=False)", 0),
        ("import yaml", 1),
        ("from ruamel.yaml import YAML", 0),
        ("subprocess.run('ls', shell=True)", 1),
    ],
)
def test_unsafe_calls_are_seen(source: str, count: int):
    assert len(list(unsafe_calls(source))) == count


def test_no_file_is_trusted():
    """Tests are left out: they read what they have just written."""
    sources = {path.relative_to(ROOT).as_posix(): path.read_text() for path in files("*.py")}
    found = {path: list(unsafe_calls(text)) for path, text in sources.items() if not path.startswith("tests/")}
    assert not {path: calls for path, calls in found.items() if calls}


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(found, f"{name} {child}")


def test_every_command_has_help_with_an_example():
    main = next(value for value in vars(import_module("ddpm.__main__")).values() if isinstance(value, click.Group))
    study = [(f"pipeline.{name}", import_module(f"pipeline.{name}").main) for name in STUDY]
    found = [*commands(main, "ddpm"), *study]
    assert len(found) > len(STUDY) + 6
    assert not [name for name, command in found if "Example" not in (command.help or "")]
    silent = [
        f"{name} {parameter.name}"
        for name, command in found
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert not silent


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[\w.+-]+", (ROOT / lock).read_text(), flags=re.MULTILINE))


def test_locks_hold_what_is_declared():
    """`make` installs with --no-deps, and `make test` counts on the dev lock containing the runtime lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert runtime <= dev
    for declared, locked in ((project["dependencies"], runtime), (project["optional-dependencies"]["dev"], dev)):
        names = {re.sub(r"[._]", "-", re.split(r"[^\w.-]", entry)[0]) for entry in declared}
        assert names <= {pin.split("==")[0] for pin in locked}


def test_hooks_are_the_steps_of_make_check():
    hooks = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    steps = re.search(r"^check: (.*?)  ##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert steps is not None
    assert [hook["entry"] for hook in hooks] == [f"make {step}" for step in steps[1].split()]
