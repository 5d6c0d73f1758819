"""One flat run per configuration, mirrored from the files, and never in the way of the work.

One SQLite store serves the whole module (creating one costs two seconds); every test uses a seed of its own, hence a
run key of its own.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ddpm.experiment.stages import STAGES
from ddpm.experiment.tracking import stage_run

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
pytestmark = pytest.mark.usefixtures("project")


def run_stage(stage: str, params: dict[str, Any], root: Path, numbers: dict[str, Any] | None = None) -> str:
    with stage_run(stage, params, "cpu", root) as run:
        run.finish(numbers or {})
    assert run.mirror is not None
    return run.mirror.run_id


def steps(client: Any, run_id: str, key: str) -> list[int]:
    return sorted(point.step for point in client.get_metric_history(run_id, key))


def test_all_stages_land_in_one_run_and_a_second_time_in_another(root: Path, client: Any, params: dict[str, Any]):
    first = [run_stage(stage, params, root) for stage in STAGES]
    assert len(set(first)) == 1
    run = client.get_run(first[0])
    assert run.info.status == "FINISHED"
    assert run.data.tags["stages_done"] == "6 of 6"
    assert {f"time/{stage}_seconds" for stage in STAGES} <= run.data.metrics.keys()
    again = [run_stage(stage, params, root) for stage in ("train", "sample")]
    assert len(set(again)) == 1
    assert set(again) != set(first)


def test_a_new_run_says_what_it_is(root: Path, client: Any, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_EXP_NAME", "brisk-otter")
    run = client.get_run(run_stage("prepare", params, root))
    assert run.info.run_name == "brisk-otter"
    assert run.data.params["schedule.beta_T"] == "1e-05"
    assert run.data.params["model.multipliers"] == "[1, 2]"
    assert run.data.params["evaluate.floor"] == "true"
    assert run.data.params["figures.zoom"] == "null"
    assert run.data.tags["dvc.experiment"] == "brisk-otter"
    assert run.data.tags["reproduce"].endswith("dvc repro --force")
    assert run.data.tags["stage.prepare.device"] == "cpu"
    assert "version.torch" in run.data.tags


def test_other_parameters_or_code_are_another_run_and_another_device_is_not(root: Path, params: dict[str, Any]):
    first = run_stage("prepare", params, root)
    with stage_run("train", params, "cuda", root) as on_gpu:
        pass
    assert on_gpu.mirror is not None
    assert on_gpu.mirror.run_id == first
    changed = run_stage("reference", {**params, "figures": {"zoom": 3}}, root)
    Path("code.py").write_text("a = 2\n")
    edited = run_stage("reference", params, root)
    assert len({first, changed, edited}) == 3


def test_a_failed_stage_is_named_and_its_repetition_continues_the_run(root: Path, client: Any, params: dict[str, Any]):
    with pytest.raises(ValueError, match="loss"), stage_run("train", params, "cpu", root) as failed:
        raise ValueError("train: loss must be finite,\ngot nan")
    assert failed.mirror is not None
    run = client.get_run(failed.mirror.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["stage.train"] == "failed"
    assert run.data.tags["stage.train.error"] == "ValueError: train: loss must be finite, got nan"
    assert "time/train_seconds" not in run.data.metrics
    assert run_stage("train", params, root) == failed.mirror.run_id
    run = client.get_run(failed.mirror.run_id)
    assert (run.info.status, run.data.tags["stage.train.error"]) == ("FINISHED", "")


def test_an_interrupted_stage_shows_as_killed(root: Path, client: Any, params: dict[str, Any]):
    with pytest.raises(KeyboardInterrupt), stage_run("train", params, "cpu", root) as run:
        raise KeyboardInterrupt
    assert run.mirror is not None
    assert client.get_run(run.mirror.run_id).info.status == "KILLED"


def test_a_killed_training_resumes_its_curve_without_duplicates(
    environment: dict[str, str], root: Path, client: Any, params: dict[str, Any]
):
    code = (
        "import json, os, sys\nfrom pathlib import Path\nfrom ddpm.experiment.tracking import stage_run\n"
        "with stage_run('train', json.loads(sys.argv[1]), 'cpu', Path(sys.argv[2])) as run:\n"
        "    run.log_curve([{'step': s, 'loss': 1 / s} for s in range(1, 1501)])\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, json.dumps(params), str(root)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert (killed.returncode, killed.stderr, killed.stdout) == (-9, "", "")
    with stage_run("train", params, "cpu", root) as run:
        assert run.mirror is not None
        tags = client.get_run(run.mirror.run_id).data.tags
        assert tags["stage.train"] == "running"
        # The last checkpoint was older than the last point; then the curve is logged as a whole.
        run.log_curve([{"step": s, "loss": 0.5} for s in range(1400, 1600)])
        run.log_curve([{"step": s, "loss": 0.5, "valid": 0.25} for s in range(1, 1700)])
    assert steps(client, run.mirror.run_id, "train_curve/loss") == list(range(1, 1700))
    assert steps(client, run.mirror.run_id, "train_curve/valid") == list(range(1, 1700))
    assert client.get_metric_history(run.mirror.run_id, "train_curve/loss")[0].value == 1.0


def test_rows_with_further_columns_become_curves_of_their_own(root: Path, client: Any, params: dict[str, Any]):
    speed = {"images_per_second": 812.5, "memory_bytes": 3e9, "mfu": 0.25}
    with stage_run("train", params, "cpu", root) as run:
        run.log_curve([{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25, **speed}])
    assert run.mirror is not None
    assert steps(client, run.mirror.run_id, "train_curve/loss") == [10, 20]
    for column, value in speed.items():
        (point,) = client.get_metric_history(run.mirror.run_id, f"train_curve/{column}")
        assert (point.step, point.value) == (20, value)


def test_pictures_are_shown_at_their_steps_and_not_doubled_by_a_resumed_run(
    root: Path, client: Any, params: dict[str, Any], tmp_path: Path
):
    picture = tmp_path / "preview.png"
    with pytest.raises(KeyboardInterrupt), stage_run("train", params, "cpu", root) as killed:
        for step in (0, 200):
            Image.new("L", (9, 5), step).save(picture)
            killed.log_image(picture, "preview", step)
        raise KeyboardInterrupt
    with stage_run("train", params, "cpu", root) as run:
        for step in (200, 400, 400):
            Image.new("L", (9, 5), step % 255).save(picture)
            run.log_image(picture, "preview", step)
        run.log_image(picture, "another", 200)
    assert killed.mirror is not None
    assert run.mirror is not None
    assert run.mirror.run_id == killed.mirror.run_id
    folder = root / "mlruns" / run.mirror.run_id / "artifacts" / "images"
    found = {}
    for path in folder.glob("*.png"):
        name, _, step, *_ = re.split("[+%]", path.name)
        assert (name, step) not in found
        with Image.open(path) as shown:
            found[name, step] = (shown.size, shown.getpixel((0, 0)))
    assert found == {
        ("train_preview", "0"): ((9, 5), 0),
        ("train_preview", "200"): ((9, 5), 200),
        ("train_preview", "400"): ((9, 5), 145),
        ("train_another", "200"): ((9, 5), 145),
    }


def test_a_picture_that_cannot_be_shown_costs_one_line(
    root: Path, params: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    with stage_run("train", params, "cpu", root) as run:
        run.log_image(Path("missing.png"), "preview", 200)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: MLflow: logging a picture failed (FileNotFoundError")


def test_without_tracking_no_picture_is_looked_at(root: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DDPM_TRACKING", "off")
    with stage_run("train", params, "cpu", root) as run:
        run.log_image(Path("missing.png"), "preview", 200)
    assert run.mirror is None


def test_cached_stages_are_read_back_and_name_their_maker(root: Path, client: Any, params: dict[str, Any]):
    _write_results()
    first = [run_stage(stage, params, root) for stage in ("prepare", "train")]
    changed = {**params, "sample": {"sampler": "ddpm", "steps": 1000}}
    run = client.get_run(run_stage("sample", changed, root))
    assert run.info.run_id not in first
    assert run.data.metrics["train/loss.final"] == 0.25
    assert run.data.metrics["prepare/counts.1"] == 7
    assert "train/digest" not in run.data.metrics
    assert "train/finite" not in run.data.metrics
    assert steps(client, run.info.run_id, "train_curve/loss") == [1, 2]
    assert steps(client, run.info.run_id, "train_curve/valid") == [2]
    for stage in ("prepare", "train"):
        assert run.data.tags[f"stage.{stage}"] == "cached"
        assert run.data.tags[f"stage.{stage}.run_id"] == first[0]
    assert "stage.reference" not in run.data.tags  # not above `sample`
    assert run.data.tags["stages_done"] == "3 of 6"
    # A forced repetition of a cached stage is a new attempt, not a change of this run.
    assert run_stage("train", changed, root) != run.info.run_id


def test_other_weights_are_not_the_maker_of_the_same_samples(root: Path, client: Any, params: dict[str, Any]):
    Path("results/sample.json").write_text("{}")
    run_stage("sample", params, root)
    changed = {**params, "schedule": {"kind": "cosine", "beta_T": 1e-05}}
    tags = client.get_run(run_stage("evaluate", changed, root)).data.tags
    assert tags["stage.sample"] == "cached"
    assert "stage.sample.run_id" not in tags


def test_files_numbers_and_data_set_are_mirrored(root: Path, client: Any, params: dict[str, Any], project: Path):
    _write_results()
    Path("data/prepared").mkdir(parents=True)
    Path("data/prepared/manifest.json").write_text('{"train.npy": "abc"}\n')
    elsewhere = project.parent / f"{project.name}.txt"
    elsewhere.write_text("x")
    Path("results/figures/grid.png").write_bytes(b"png")
    with stage_run("evaluate", params, "cpu", root) as run:
        run.finish(
            {"frechet_pixels": {"value": 3.5, "odd @ name": 1}},
            [Path("results/train.json"), project / "results/figures", elsewhere],
        )
    assert run.mirror is not None
    stored = client.get_run(run.mirror.run_id)
    assert stored.data.metrics["evaluate/frechet_pixels.value"] == 3.5
    assert stored.data.metrics["evaluate/frechet_pixels.odd _ name"] == 1
    (data,) = stored.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", stored.data.tags["dataset"])
    local = root / "mlruns" / run.mirror.run_id / "artifacts"
    files = {path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()}
    assert files == {"results/train.json", "results/figures/grid.png", elsewhere.name}


def test_the_reproduce_tag_fetches_and_applies_uncommitted_code(
    environment: dict[str, str], root: Path, client: Any, params: dict[str, Any], project: Path, tmp_path: Path
):
    Path("params.yaml").write_text(json.dumps({**params, "train": {"seed": 0}}))
    Path("ddpm").mkdir()
    Path("ddpm/model.py").write_text("width = 1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*GIT, *command], check=True, capture_output=True)
    Path("ddpm/model.py").write_text("width = 2\n")
    run = client.get_run(run_stage("prepare", params, root))
    assert run.data.tags["git.dirty"] == "true"
    commands, _, dvc = run.data.tags["reproduce"].rpartition(" && ")
    assert dvc == f"dvc exp run --force -S train.seed={params['train']['seed']}"
    subprocess.run([*GIT, "checkout", "-q", "--", "."], check=True)  # a clean start, beside the same store
    Path("mlflow.db").symlink_to(root / "mlflow.db")
    environment = {**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", commands], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert Path("ddpm/model.py").read_text() == "width = 2\n"


def _write_results() -> None:
    Path("results/prepare.json").write_text('{"counts": [3, 7]}')
    Path("results/train.json").write_text('{"loss": {"final": 0.25}, "finite": true, "digest": "abc"}')
    Path("results/train.csv").write_text("step,loss,valid\n1,0.5,\n2,0.25,0.3\n")
