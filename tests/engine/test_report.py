"""The report: everything a run left is on its page, what is missing is said, timings belong to these parameters."""

import json
import shutil
from pathlib import Path

import pytest

from ddpm.engine.report import collect, nearest_recipe, read_params
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
    assert "16 px, 500 samples (uint8 npy) against 1,500 images of train, features pixels" in rows[0][5]
    assert rows[0][3].startswith("0.3279 with 297")
    shown = {picture.name for found in page.sections for picture in found.pictures}
    assert shown == {path.stem for path in (ROOT / "results/figures").glob("*.png")} | {"evolution"}
    digests = {row[0]: row for row in section(page, "digests").tables[0].rows}
    sample = json.loads((ROOT / "results/sample.json").read_text())
    assert digests["data/samples/images.npy"][2] == sample["images_sha256"]
    assert digests["data/weights/ema.safetensors"][2] == sample["weights_sha256"]
    assert len(digests["results/metrics.json"][3]) == 32
    assert [row[0] for row in section(page, "data").tables[2].rows] == [str(digit) for digit in range(10)]


def test_a_fresh_folder_says_what_is_missing(project: Path) -> None:
    page = collect(project, project)
    assert "python -m ddpm evaluate" in section(page, "metrics").notes[0]
    assert "python -m ddpm prepare" in section(page, "data").notes[0]
    assert "python -m ddpm figures" in section(page, "figures").notes[0]
    assert section(page, "timings").notes[1].endswith("prepare, reference, train, sample, evaluate, figures.")
    assert page.facts == []
    assert "dvc repro" in section(page, "reproduce").command


def test_the_nearest_recipe_and_what_differs(project: Path) -> None:
    params = read_params(project)
    assert nearest_recipe(project, params) == ("quick", [])
    params["train"]["steps"] = 7
    assert nearest_recipe(project, params) == ("quick", [("train.steps", "600", "7")])


def test_only_timings_of_these_parameters_are_shown(project: Path) -> None:
    params, folder = read_params(project), project / "work/timings"
    folder.mkdir(parents=True)
    for stage, sections in (("reference", ["reference"]), ("sample", ["sample"])):
        record = {"seconds": 12.34, "device": "cpu", "params": {name: params[name] for name in sections}}
        if stage == "sample":
            record["params"] = {"sample": {**params["sample"], "seed": 1}}
        (folder / f"{stage}.json").write_text(json.dumps(record))
    found = section(collect(project, project), "timings")
    assert list(found.tables[0].rows) == [("reference", "12.3", "cpu")]


def test_without_parameters_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"params.yaml: no parameters here; change to the root"):
        collect(tmp_path, tmp_path)
