"""The proof of reproducibility, on a small DVC project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import verify

ROOT = Path(verify.__file__).parents[1]
PYTHON = sys.executable
DVC_YAML = f"""\
stages:
  fixed:
    cmd: {PYTHON} -c "open('results/fixed.json', 'w').write('1')"
    metrics: [{{results/fixed.json: {{cache: false}}}}]
  random:
    cmd: {PYTHON} -c "import os; open('random.bin', 'wb').write(os.urandom(8))"
    outs: [random.bin]
"""


def run(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([PYTHON, "-m", *arguments], cwd=project, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "results").mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    assert run(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    finished = run(folder, "dvc", "repro", "-q")
    assert finished.returncode == 0, finished.stderr
    return folder


def test_a_repeatable_stage_is_the_same(project: Path):
    finished = run(project, "pipeline.verify", "fixed")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "fixed       same",
        "dvc.lock and 1 files of results/ are the same bytes as before",
    ]


def test_a_random_stage_is_found(project: Path):
    finished = run(project, "pipeline.verify")
    assert finished.returncode == 1
    assert finished.stdout.splitlines() == ["fixed       same", "random      different: random.bin"]
    assert "Error: these bytes differ: dvc.lock" in finished.stderr


def test_results_out_of_date_are_refused(project: Path):
    (project / "results/fixed.json").write_text("2")
    finished = run(project, "pipeline.verify", "fixed")
    assert finished.returncode == 1
    assert finished.stderr == "Error: results must be up to date, got changes in fixed; run `dvc repro`\n"


def test_without_a_lock_there_is_nothing_to_prove(tmp_path: Path):
    finished = run(tmp_path, "pipeline.verify")
    assert finished.returncode == 1
    assert "dvc.lock must be in the current folder" in finished.stderr


def test_files_of_one_side_only_are_different():
    assert verify.differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}) == ["b", "c", "d"]
