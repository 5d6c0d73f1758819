"""The store of runs: made by many at once, wrong, broken or switched off, and never in the way of the work."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ddpm.experiment.store import one_line
from ddpm.experiment.tracking import stage_run

pytestmark = pytest.mark.usefixtures("project")


def test_four_processes_create_one_store_at_once(environment: dict[str, str], tmp_path: Path, params: dict[str, Any]):
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom ddpm.experiment.tracking import stage_run\n"
        "params = json.loads(sys.argv[1]) | {'train': {'seed': int(sys.argv[3])}}\n"
        "with stage_run('train', params, 'cpu', Path(sys.argv[2])) as run:\n"
        "    run.finish({'loss': 1.0})\nprint(run.mirror.run_id)\n"
    )
    new = tmp_path / "new"
    new.mkdir()
    commands = [[sys.executable, "-c", code, json.dumps(params), str(new), str(seed)] for seed in (1, 2, 3, 3)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(c, stdout=pipe, stderr=pipe, text=True, env=environment) for c in commands]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [error for _, error in outputs] == [""] * 4
    assert all(process.returncode == 0 for process in started)
    ids = [output for output, _ in outputs]
    assert len(set(ids[:3])) == 3


@pytest.mark.parametrize(
    "uri", ["nonsense://user:secret@nowhere", "http://127.0.0.1:9/", "sqlite:///no/such/folder/x.db"]
)
def test_a_wrong_uri_is_told_before_the_work_and_does_not_stop_it(
    uri: str, root: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with stage_run("train", params, "cpu", root) as run:
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("warning: MLflow: opening the run failed (")
        assert "secret" not in lines[0]
        run.log_curve([{"step": 1, "loss": 0.5}])
        run.finish({"loss": 1})
    assert capsys.readouterr().err == ""


def test_a_store_that_is_no_database_costs_one_line(
    tmp_path: Path, params: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look like one\n" * 50)
    with stage_run("train", params, "cpu", tmp_path):
        pass
    assert capsys.readouterr().err.count("\n") == 1


def test_a_store_that_dies_in_between_warns_and_later_calls_try_again(
    root: Path, client: Any, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with stage_run("train", params, "cpu", root) as run:
        assert run.mirror is not None
        rows = [{"step": 1, "loss": 0.5}]
        with monkeypatch.context() as broken:
            broken.setattr(run.mirror.client, "log_batch", lambda *_, **__: 1 / 0)
            run.log_curve(rows)
        assert capsys.readouterr().err == (
            "warning: MLflow: logging a curve failed (ZeroDivisionError: division by zero); going on without it\n"
        )
        run.log_curve([*rows, {"step": 2, "loss": 0.25}])
    assert sorted(point.step for point in client.get_metric_history(run.mirror.run_id, "train_curve/loss")) == [1, 2]


def test_off_means_off_and_anything_else_is_refused(
    tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DDPM_TRACKING", "off")
    with stage_run("train", params, "cpu", tmp_path / "none") as run:
        run.log_curve([{"step": 1, "loss": 0.5}])
        run.finish({"loss": 1}, [Path("missing")])
    assert not (tmp_path / "none").exists()
    monkeypatch.setenv("DDPM_TRACKING", "false")
    with (
        pytest.raises(ValueError, match=r"DDPM_TRACKING must be on or off, got 'false'"),
        stage_run("train", params, "cpu", tmp_path),
    ):
        pass


def test_importing_the_room_loads_neither_mlflow_nor_torch(
    environment: dict[str, str],
):
    code = (
        "import sys, ddpm.experiment.tracking, ddpm.experiment.stages\n"
        "print([name for name in ('mlflow', 'torch', 'dvc', 'sqlalchemy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n"


def test_an_error_is_one_line_without_passwords():
    error = RuntimeError("cannot reach\n  https://me:secret@host/path")
    assert one_line(error) == "RuntimeError: cannot reach https://host/path"
    assert len(one_line(ValueError("x" * 1000))) == 300
