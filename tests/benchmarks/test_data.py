"""The benchmark of preparing: ways that give the same pixels, bars in their directions, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import data, photos
from benchmarks.data import DECODING, limits
from benchmarks.memory import Peak
from benchmarks.preparing import decoding, opened, ours, torchvision
from benchmarks.rounds import Timing
from ddpm.data.files import FolderReader
from ddpm.data.store import open_split


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up pictures in small numbers."""
    monkeypatch.setattr(photos, "DIFFERENT", 5)


@pytest.mark.usefixtures("few")
def test_ours_and_torchvision_prepare_the_same_pixels(tmp_path: Path) -> None:
    raw = tmp_path / "celeba"
    photos.write_layout(photos.frames(None), 12, raw)
    ours(raw, 64, 1, "array", tmp_path / "ours")
    torchvision(raw, 64, 1, tmp_path / "theirs")
    found = open_split(tmp_path / "ours", "train").images
    np.testing.assert_array_equal(found, np.load(tmp_path / "theirs" / "train.npy", allow_pickle=False))
    assert found.shape == (12, 64, 64, 3)
    read, chunks = opened(raw)
    assert decoding(read, chunks, 1) == decoding(FolderReader(raw), chunks, 1, resample=64) == 12


def test_bars_are_ratios_of_times_taken_in_turns() -> None:
    made = {data._theirs(size): Timing((3.0,)) for size in data.SIZES}
    made |= {data._ours(size): Timing((2.0,)) for size in data.SIZES} | {DECODING: Timing((1.8,))}
    peaks = [Peak(10, 1, 100, 1.0), Peak(100, 1, 120, 1.0)]
    found = {bar.text: bar for bar in limits(made, {"array": Timing((0.1,))}, peaks)}
    assert [bar.met for bar in found.values()] == [True, True, True, True, False, False]
    assert found["64 px: images/s over torchvision's"].measured == {"best": 1.5, "median": 1.5}
    assert found["64 px: share of decoding alone"].measured == {"best": 0.9, "median": 0.9}
    assert found["reading an epoch (array) over decoding it"].measured == pytest.approx({"best": 18, "median": 18})
    assert limits(made, {}, [])[-1].met is None


@pytest.mark.usefixtures("few")
def test_the_command_measures_all_ways(tmp_path: Path) -> None:
    arguments = ["--count", "10", "--rounds", "1", "--workers", "1", "--memory", "5", "--memory", "10"]
    result = CliRunner().invoke(data.main, [*arguments, "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())
    assert len(found["preparing"]) == 8
    assert len(found["reading"]) == 3
    assert [each["images"] for each in found["memory"]] == [5, 10]
    assert all(each["all_bytes"] > 10**7 for each in found["memory"])
