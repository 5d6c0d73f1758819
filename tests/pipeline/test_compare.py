"""Experiments on one page: what differs, honestly; from git and from the workspace."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.compare import Side, page, read
from pipeline.report import main

ROOT = Path(__file__).resolve().parents[2]


def record(value: float, half: float, **protocol: Any) -> dict[str, Any]:
    way = {"name": "own", "source": "digits", "crop": "none", "resample": "bicubic", "size": 16, "split": "train"}
    return {
        "value": value,
        "interval": {"low": value - half, "high": value + half},
        "num_images": 500,
        "num_reference": 1500,
        "features": "pixels",
        "weights_sha256": None,
        "protocol": {**way, "sample_format": "uint8 npy", **protocol},
    }


def side(name: str, value: float, half: float = 0.1, seed: int = 0, **protocol: Any) -> Side:
    params = {"schedule.beta_T": value, "sample.seed": seed, "data.image_size": 16}
    return Side(name, params, {"frechet_pixels@500": record(value, half, **protocol)}, [], b"")


def test_differences_are_to_the_first_and_say_whether_intervals_overlap() -> None:
    found = page([side("a", 1.0), side("b", 1.5), side("c", 1.05)])
    parameters, metrics, _, _ = found.sections
    assert list(parameters.tables[0].rows) == [("schedule.beta_T", "1.0", "1.5", "1.05")]
    assert list(metrics.tables[0].rows) == [
        (
            "frechet_pixels@500",
            "1.0000 (0.9000 to 1.1000)",
            "1.5000 (1.4000 to 1.6000); +0.5, +50.0%; intervals do not overlap",
            "1.0500 (0.9500 to 1.1500); +0.05, +5.0%; intervals overlap",
        )
    ]
    assert metrics.warnings == []


def test_numbers_of_different_protocols_and_seeds_are_warned_of() -> None:
    _, metrics, _, samples = page([side("a", 1.0), side("b", 1.5, seed=1, crop="squash")]).sections
    assert "does not compare" in metrics.warnings[0]
    assert "nothing in common" in samples.warnings[0]


def test_one_experiment_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="2 to 6 experiments"):
        page([side("a", 1.0)])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a commit, an experiment of DVC's kind with another beta_T, and a changed workspace."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]

    def commit(beta: str) -> str:
        text = (ROOT / "params.yaml").read_text().replace("beta_T: 0.02", f"beta_T: {beta}")
        (tmp_path / "params.yaml").write_text(text)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", beta], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    subprocess.run([*git, "init", "-q"], check=True)
    first, experiment = commit("0.02"), commit("0.03")
    subprocess.run([*git, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/wide", experiment], check=True)
    for other in ("stash", "exec/EXEC_HEAD", "celery/failed"):  # what DVC keeps beside the experiments
        subprocess.run([*git, "update-ref", f"refs/exps/{other}", first], check=True)
    subprocess.run([*git, "reset", "-q", "--hard", first], check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_experiments_revisions_and_the_workspace(project: Path) -> None:
    sides = [read(name, project) for name in ("workspace", "wide", "HEAD")]
    assert [found.params["schedule.beta_T"] for found in sides] == [0.02, 0.03, 0.02]
    assert sides[1].samples == (ROOT / "results/figures/samples.png").read_bytes()
    assert len(sides[1].curve) == len(sides[0].curve) > 0
    curves = page(sides[:2]).sections[2]
    assert curves.pictures[0].png.startswith(b"\x89PNG")


def test_the_command_writes_a_page_and_names_what_there_is(project: Path) -> None:
    finished = CliRunner().invoke(main, ["compare", "workspace", "wide"])
    assert finished.exit_code == 0, finished.output
    html = (project / "results/compare.html").read_text()
    assert "schedule.beta_T" in html
    assert html.count("<img ") == 3
    refused = CliRunner().invoke(main, ["compare", "workspace", "narrow"])
    assert refused.exit_code == 1
    assert "narrow: must be an experiment, a git revision or workspace; experiments: wide\n" in refused.output
