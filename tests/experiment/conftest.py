"""The store, the folder and the parameters that tests of tracking share."""

import os
import warnings
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ddpm.experiment.stages import STAGES

SEEDS = count(1)  # every test uses a seed of its own, hence a run key of its own


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("main checkout")


@pytest.fixture(scope="module")
def client(root: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        os.environ["MLFLOW_LOGGING_LEVEL"] = "ERROR"
        uri = f"sqlite:///{root / 'mlflow.db'}"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot as the current folder, with code of its own and no git; the store lies in the main checkout."""
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DDPM_TRACKING", "on")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    Path("code.py").write_text("a = 1\n")
    Path("dvc.yaml").write_text("stages:\n" + "".join(f"  {name}: {{deps: [code.py]}}\n" for name in STAGES))
    Path("results/figures").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def params() -> dict[str, Any]:
    return {
        "data": {"source": "digits", "image_size": 16},
        "reference": {"features": "pixels"},
        "schedule": {"kind": "linear", "beta_T": 1e-05},
        "model": {"multipliers": [1, 2]},
        "objective": {"target": "eps"},
        "train": {"seed": next(SEEDS)},
        "sample": {"sampler": "ddim", "steps": 50},
        "evaluate": {"floor": True},
        "figures": {"zoom": None},
    }


@pytest.fixture
def environment(project: Path) -> dict[str, str]:
    package = str(Path(__file__).resolve().parents[2])
    dropped = {"MLFLOW_LOGGING_LEVEL", "MLFLOW_TRACKING_URI"}
    return {**{key: value for key, value in os.environ.items() if key not in dropped}, "PYTHONPATH": package}
