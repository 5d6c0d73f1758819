"""The command that is written down really makes the run again."""

import dataclasses
import shlex
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ddpm.experiment.provenance import base_commit, flatten, overrides, provenance, reproduce_command

PARAMS = {"schedule": {"T": 1000, "beta_T": 0.02}, "model": {"multipliers": [1, 2, 2]}, "train": {"flip": False}}
PARAMS_YAML = (
    "# a comment\nschedule:\n  T: 1000\n  beta_T: 0.02\nmodel:\n  multipliers: [1, 2, 2]\ntrain:\n  flip: false\n"
)

# What stands in parameter files: printable ASCII. `$` would be an interpolation for Hydra and is refused by it.
text = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$"), max_size=12)
number = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
leaf = st.none() | st.booleans() | number | text | st.lists(number | text | st.booleans(), max_size=4)
tree = st.fixed_dictionaries({"train": st.fixed_dictionaries({"a": leaf, "b": leaf}), "data": st.just({"c": 1})})


def git(folder: Path, *args: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *author, *args]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def _outside_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "main checkout"
    (folder / "ddpm").mkdir(parents=True)
    (folder / "results").mkdir()
    (folder / "params.yaml").write_text(PARAMS_YAML)
    (folder / "ddpm/code.py").write_text("a = 1\n")
    (folder / "results/train.json").write_text("{}\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "start")
    return folder


def apply_with_dvc(params_yaml: Path, items: list[str]) -> None:
    """What `dvc exp run -S ...` does to params.yaml, by DVC's own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hydra and antlr, when they are imported
        from dvc.utils.cli_parse import to_path_overrides
        from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

        grouped = to_path_overrides(items)
        assert set(grouped) <= {"params.yaml"}
        assert len(get_hydra_sweeps(grouped)) == 1  # one experiment and not several
        apply_overrides(params_yaml, grouped.get("params.yaml", []))


def items_of(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[index + 1] for index, word in enumerate(words) if word == "-S"]


def load(path: Path) -> dict:
    return YAML(typ="safe", pure=True).load(path.read_text())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("params") / "params.yaml"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=tree, after=tree)
@example(
    before={"train": {"a": 0, "b": 0}},
    after={"train": {"a": 'x\\"y\\\\', "b": ["\\", '"', "\\'", "null", "1e-5", "a,b"]}},
)
def test_overrides_survive_the_shell_and_dvc(scratch: Path, before: dict, after: dict):
    with scratch.open("w") as file:
        YAML(typ="safe", pure=True).dump(before, file)
    command = " ".join(["dvc exp run", *(f"-S {shlex.quote(item)}" for item in overrides(before, after))])
    apply_with_dvc(scratch, items_of(command))
    read = load(scratch)
    assert read == after
    assert all(isinstance(flatten(read)[key], bool) == isinstance(value, bool) for key, value in flatten(after).items())


def test_overrides_add_and_remove_keys(scratch: Path):
    before, after = {"a": {"old": 1, "kept": 2}}, {"a": {"kept": 2, "new": [1e-05, None]}}
    scratch.write_text("a:\n  old: 1\n  kept: 2\n")
    apply_with_dvc(scratch, overrides(before, after))
    assert load(scratch) == after


def test_only_what_differs_is_in_the_command(repository: Path):
    changed = {**PARAMS, "schedule": {"T": 1000.0, "beta_T": 1e-05}}
    head = git(repository, "rev-parse", "HEAD")
    assert reproduce_command(PARAMS, repository) == f"git stash && git checkout {head} && dvc exp run --force"
    wanted = f"git stash && git checkout {head} && dvc exp run --force -S schedule.beta_T=1e-05"
    assert reproduce_command(changed, repository) == wanted


def test_provenance_of_a_clean_checkout(repository: Path):
    (repository / "params.yaml").write_text(PARAMS_YAML.replace("0.02", "0.5"))
    (repository / "results/train.json").write_text('{"loss": 1}\n')
    origin = provenance(repository)
    assert origin.commit == git(repository, "rev-parse", "HEAD")
    assert (origin.branch, origin.dirty, origin.diff, origin.experiment) == ("main", False, "", "")
    assert origin.num_cpus >= 1
    assert {"python", "torch", "numpy", "mlflow", "dvc"} <= origin.versions.keys()
    with pytest.raises(dataclasses.FrozenInstanceError):
        origin.dirty = True  # type: ignore[misc]


def test_uncommitted_code_comes_back_from_the_patch(repository: Path, tmp_path: Path):
    # Settings that make a plain `git diff` unusable, bytes that are not text, and a file git does not know yet.
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "config", "color.ui", "always")
    (repository / "ddpm/code.py").write_bytes(b"a = 2  # \xe4\n")
    (repository / "ddpm/new.py").write_text("b = 3\n")
    origin = provenance(repository)
    assert origin.dirty
    patch = tmp_path / "uncommitted.patch"
    patch.write_bytes(origin.diff.encode(errors="surrogateescape"))
    command = reproduce_command(PARAMS, repository, patch=shlex.quote(str(patch)))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    before_dvc, _, dvc = command.rpartition(" && ")
    assert dvc == "dvc exp run --force"
    subprocess.run(["bash", "-ec", before_dvc], cwd=clone, check=True, capture_output=True)
    assert (clone / "ddpm/code.py").read_bytes() == b"a = 2  # \xe4\n"
    assert (clone / "ddpm/new.py").read_text() == "b = 3\n"


def test_an_experiment_starts_from_its_baseline(repository: Path, monkeypatch: pytest.MonkeyPatch):
    baseline = git(repository, "rev-parse", "HEAD")
    (repository / "params.yaml").write_text(PARAMS_YAML.replace("1000", "500"))
    git(repository, "commit", "-q", "-a", "-m", "made by DVC in its snapshot")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", baseline)
    monkeypatch.setenv("DVC_EXP_NAME", "brisk-otter")
    params = {**PARAMS, "schedule": {"T": 500, "beta_T": 0.02}}
    assert base_commit(repository) == baseline
    assert (
        reproduce_command(params, repository)
        == f"git stash && git checkout {baseline} && dvc exp run --force -S schedule.T=500"
    )
    origin = provenance(repository)
    assert (origin.experiment, origin.baseline, origin.dirty) == ("brisk-otter", baseline, False)


def test_without_git_the_command_carries_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    origin = provenance(tmp_path)
    assert (origin.commit, origin.branch, origin.dirty, origin.diff) == ("", "", False, "")
    params = {**PARAMS, "data": {"note": "it's 100 %", "lr": 1e-05, "none": None}}
    (tmp_path / "params.yaml").write_text("edited: 1")
    keep, write, no_scm, run = reproduce_command(params, tmp_path).split(" && ")
    assert (no_scm, run) == ("dvc config --local core.no_scm true", "dvc repro --force")
    subprocess.run(["bash", "-ec", f"{keep}; {write}"], cwd=tmp_path, check=True)
    assert load(tmp_path / "params.yaml") == params
    assert (tmp_path / "params.before.yaml").read_text() == "edited: 1"


def test_a_missing_git_program_is_the_same_as_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert provenance(repository).commit == ""
    assert reproduce_command(PARAMS, repository).endswith("dvc repro --force")
