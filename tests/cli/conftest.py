"""A project of its own for each test, with a tiny experiment in it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ddpm.__main__ import main

ROOT = Path(__file__).parents[2]
TINY = {
    "steps: 600": "steps: 4",
    "batch: 64": "batch: 8",
    "log_every: 10": "log_every: 2",
    "valid_every: 50": "valid_every: 2",
    "valid_images: 300": "valid_images: 8",
    "num_images: 500": "num_images: 12",
    "steps: 25": "steps: 3",
    "grid_rows: 10": "grid_rows: 2",
    "grid_columns: 10": "grid_columns: 4",
    "strip_columns: 11": "strip_columns: 3",
    "preview_steps: 20": "preview_steps: 2",
    "interval_groups: 20": "interval_groups: 3",
    "curve_points: 5": "curve_points: 0",
    "kid_images: 100": "kid_images: 4",
    "image_size: 16": "image_size: 8",
    "multipliers: [1, 2, 2]": "multipliers: [1, 1]",
}

FIGURES = ("samples", "progression", "comparison", "loss", "schedule", "forward", "denoising")
"""Those that are drawn in a second; tests/figures draws them all."""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A folder with a tiny params.yaml, which is the current folder."""
    text = (ROOT / "params.yaml").read_text()
    for old, new in TINY.items():
        assert old in text, f"quick.yaml no longer has {old!r}; adjust TINY"
        text = text.replace(old, new)
    text, count = re.subn(r"^  names:.*\n(?:    - .*\n)*", f"  names: [{', '.join(FIGURES)}]\n", text, flags=re.M)
    assert count == 1, "quick.yaml no longer names its figures as it did"
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DDPM_DEVICE", raising=False)
    return tmp_path


@pytest.fixture
def ddpm():
    """Run a command in this process."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture
def done(project, ddpm) -> Path:
    """The tiny experiment, all six stages of it."""
    for stage in ("prepare", "reference", "train", "sample", "evaluate", "figures"):
        result = ddpm(stage)
        assert result.exit_code == 0, f"{stage}: {result.output}"
    return project


@pytest.fixture
def refused():
    """Demand one line of error that holds the given words, and no traceback; returns the line."""

    def check(result: Result, *words: str, code: int = 1) -> str:
        assert result.exit_code == code, result.output
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, result.stderr
        assert "Traceback" not in result.output
        for word in words:
            assert word in result.stderr
        return lines[0]

    return check
