"""The report: everything a run left is on its page, what is missing is said, timings belong to these parameters."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ddpm.digest import file_sha256
from ddpm.engine.report import collect, nearest_recipe, read_params
from ddpm.engine.report_tables import interval_text
from ddpm.experiment.stages import STAGES
from ddpm.report.page import Page, Section

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "pipeline/recipes", tmp_path / "pipeline/recipes")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def section(page: Page, anchor: str) -> Section:
    return next(found for found in page.sections if found.anchor == anchor)


def test_a_whole_run(project: Path) -> None:
    shutil.copytree(ROOT / "results", project / "results")
    shutil.copy(ROOT / "dvc.lock", project)
    page = collect(project, project)
    metrics = json.loads((ROOT / "results/metrics.json").read_text())
    rows = section(page, "metrics").tables[0].rows
    assert [row[0] for row in rows] == [name for name in metrics if "_floor@" not in name]
    record, floor = metrics["frechet_pixels@500"], metrics["frechet_pixels_floor@297"]
    assert list(rows[0][1:4]) == [f"{record['value']:.4f}", "lower", interval_text(record)]
    assert list(rows[0][4:6]) == [f"{floor['value']:.4f} (297 images)", f"{floor['samples_at_this_count']:.4f}"]
    way = dict(section(page, "metrics").tables[1].rows)
    assert (way["samples"], way["size"], way["crop and kernel"]) == (
        "500, stored as uint8 npy",
        "16 px",
        "none, bicubic",
    )
    assert page.first is not None
    shown = {page.first.name, *(picture.name for found in page.sections for picture in found.pictures)}
    assert shown == {path.stem for path in (ROOT / "results/figures").glob("*.png")} | {"evolution"}
    digests = {row[0]: row for row in section(page, "digests").tables[0].rows}
    sample = json.loads((ROOT / "results/sample.json").read_text())
    assert digests["data/samples/images.npy"][2] == sample["images_sha256"]
    assert digests["data/weights/ema.safetensors"][2] == sample["weights_sha256"]
    assert len(digests["results/metrics.json"][3]) == 32
    assert digests["results/figures/loss.png"][3].startswith("in the folder ")
    assert digests["results/train.csv"][2] == file_sha256(ROOT / "results/train.csv")
    assert not [found.title for found in page.sections if found.anchor != "metrics" and found.warnings]
    assert [row[0] for row in section(page, "data").tables[2].rows] == [str(digit) for digit in range(10)]


def test_a_fresh_folder_says_what_is_missing(project: Path) -> None:
    page = collect(project, project)
    assert "python -m ddpm evaluate" in section(page, "metrics").notes[0]
    assert "python -m ddpm prepare" in section(page, "data").notes[0]
    assert "python -m ddpm figures" in section(page, "figures").notes[0]
    assert section(page, "timings").notes[1].endswith("prepare, reference, train, sample, evaluate, figures.")
    assert page.facts == []
    assert "dvc repro" in section(page, "reproduce").command
    assert "no commit to start from" in section(page, "reproduce").notes[0]


def test_the_nearest_recipe_and_what_differs(project: Path) -> None:
    params = read_params(project)
    assert nearest_recipe(project, params) == ("quick", [])
    params["train"]["steps"] = 7
    assert nearest_recipe(project, params) == ("quick", [("train.steps", "600", "7")])


def test_only_timings_of_these_parameters_are_shown(project: Path) -> None:
    params, folder = read_params(project), project / "work/timings"
    folder.mkdir(parents=True)
    for stage in STAGES:  # as after a run with another net: what lies above training is the same
        other = {**params, "model": {**params["model"], "channels": 64}}
        (folder / f"{stage}.json").write_text(json.dumps({"seconds": 12.34, "device": "cpu", "params": other}))
    found = section(collect(project, project), "timings")
    assert list(found.tables[0].rows) == [("prepare", "12.3", "cpu"), ("reference", "12.3", "cpu")]
    assert found.notes[1].endswith("train, sample, evaluate, figures.")


def test_without_parameters_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"params.yaml: no such parameter file; write one with"):
        collect(tmp_path, tmp_path)


def test_parameters_that_are_not_valid_are_refused(project: Path) -> None:
    (project / "params.yaml").write_text("data: [")
    with pytest.raises(ValueError, match=r"params.yaml:\d: not valid YAML"):
        collect(project, project)


def test_results_of_other_parameters_are_told(project: Path) -> None:
    shutil.copy(ROOT / "dvc.lock", project)
    assert section(collect(project, project), "run").warnings == []
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("steps: 600", "steps: 700").replace("zoom: 4", "zoom: 5"))
    (warning,) = section(collect(project, project), "run").warnings
    assert "other parameters: train.steps was 600, is 700. What" in warning


def test_a_file_that_is_not_the_one_in_the_lock_is_told(project: Path) -> None:
    shutil.copytree(ROOT / "results", project / "results")
    shutil.copy(ROOT / "dvc.lock", project)
    (project / "results/train.csv").write_text("step,loss\n1,2\n")
    rows = {row[0]: row[3] for row in section(collect(project, project), "digests").tables[0].rows}
    assert rows["results/train.csv"] == "another file than in dvc.lock"
    assert len(rows["results/train.json"]) == 32


@pytest.mark.parametrize(
    ("file", "content", "anchor", "words"),
    [
        ("results/metrics.json", '{"a": ', "metrics", "metrics.json must hold JSON"),
        ("results/metrics.json", '{"fid@5": {"value": 1.0}}', "metrics", "no 'grade'"),
        ("results/prepare.json", '{"splits": {}}', "data", "no 'source'"),
        ("results/figures/loss.png", "no picture", "figures", "loss.png"),
        ("dvc.lock", "", "digests", "dvc.lock must hold stages"),
        ("work/timings/train.json", "{", "timings", "train.json must hold JSON"),
    ],
)
def test_a_part_that_cannot_be_read_says_so_and_the_others_stay(
    project: Path, file: str, content: str, anchor: str, words: str
) -> None:
    shutil.copytree(ROOT / "results", project / "results")
    (project / file).parent.mkdir(parents=True, exist_ok=True)
    (project / file).write_text(content)
    page = collect(project, project)
    assert words in " ".join(section(page, anchor).warnings)
    assert section(page, "training").pictures
    assert section(page, "environment").tables


def test_the_size_of_the_net_is_read_from_its_weights(project: Path) -> None:
    path = project / "data/weights/ema.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, path)
    assert ("parameters of the net", "17", "32 x (1x2x2)") in collect(project, project).facts
