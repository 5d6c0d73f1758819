"""The table of results: made from files, honest about what was not measured, and up to date in the README."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import results

ROOT = Path(__file__).resolve().parents[2]
METRICS = {
    "fid@28000": {"value": 3.5, "num_images": 28000, "interval": {"low": 3.4, "high": 3.6}},
    "fid_floor@19867": {"value": 0.7, "num_images": 19867, "samples_at_this_count": 3.9},
    "kid@28000": {"value": 0.001, "num_images": 28000},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "pipeline/recipes", tmp_path / "pipeline/recipes")
    shutil.copy(ROOT / "pipeline/published.yaml", tmp_path / "pipeline")
    shutil.copy(ROOT / "pipeline/recipes/celeba64.yaml", tmp_path / "params.yaml")
    return tmp_path


def test_the_readme_holds_what_the_command_prints() -> None:
    text = (ROOT / "README.md").read_text()
    assert results.into(text, results.as_markdown(results.rows(ROOT))) == text, "python -m pipeline.results --write"


def test_only_the_current_recipe_is_measured_and_by_its_own_metric(project: Path) -> None:
    (project / "results").mkdir()
    (project / "results/metrics.json").write_text(json.dumps(METRICS))
    here = {row[0]: row[2] for row in results.rows(project)}
    assert here.pop("`celeba64`") == (
        "3.5000, 95 % interval 3.4000 to 3.6000; 19867 held-out real images score 0.7000, 19867 of the samples 3.9000"
    )
    assert set(here.values()) == {"not measured"}


def test_an_edited_recipe_is_no_recipe(project: Path) -> None:
    (project / "results").mkdir()
    (project / "results/metrics.json").write_text(json.dumps(METRICS))
    params = YAML(typ="safe").load(project / "params.yaml")
    params["train"]["steps"] += 1
    YAML().dump(params, project / "params.yaml")
    assert {row[2] for row in results.rows(project)} == {"not measured"}


def test_pixels_are_never_called_fid() -> None:
    names = {row[0]: row[1] for row in results.rows(ROOT)}
    assert names["`quick`"] == "`frechet_pixels@500`"
    assert names["`celeba64`"] == "`fid@28000`"


def test_published_numbers_belong_to_recipes_and_say_what_differs() -> None:
    published = YAML(typ="safe").load(ROOT / "pipeline/published.yaml")
    assert set(published) <= {path.stem for path in (ROOT / "pipeline/recipes").glob("*.yaml")}
    assert all(set(each) == {"value", "images", "source", "note"} for some in published.values() for each in some)


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold one"):
        results.into("# a page", "table")
