"""The tutorial runs from top to bottom, and what it shows is right; what is committed of it is small and neutral."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import torch

from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, save_checkpoint
from ddpm.experiment.params_file import load

ROOT = Path(__file__).parents[1]
RESULTS = """
print(json.dumps({"difference": difference, "distances": distances, "floor": floor, "noise": noise, "losses": losses,
    "std": [float(x_t.std()) for x_t in noised.values()], "shape": made.shape,
    "unguided": bool((guided[1.0] == digits(guidance_scale=1.0)[:10]).all()),
    "apart": [int(abs(guided[scale].astype(int) - guided[1.0]).sum()) for scale in scales]}))
"""


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    """notebooks/run.py."""
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "notebooks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def project(folder: Path) -> Path:
    """A folder with parameters, a tiny net of made-up weights, and metrics."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    params = load(
        folder / "params.yaml", ["data.image_size=8", "model.multipliers=[1, 2]"]
    )  # 32 channels alone are blind to labels
    net = build_net(params.data, params.model, params.objective)
    generator = np.random.default_rng(0)
    weights = {
        name: torch.from_numpy(generator.normal(0, 0.1, tuple(tensor.shape)).astype(np.float32))
        for name, tensor in net.state_dict().items()
    }
    sections = {name: getattr(params, name) for name in ("data", "schedule", "model", "objective")}
    (folder / "data" / "weights").mkdir(parents=True)
    save_checkpoint(folder / "data/weights/ema.safetensors", Checkpoint(**sections, step=3, weights=weights))
    (folder / "results").mkdir()
    metrics = {"frechet_pixels@12": {"value": 1.5, "interval": {"low": 1.25, "high": 2.0}}}
    (folder / "results" / "metrics.json").write_text(json.dumps(metrics))
    return folder


def said(notebook: nbformat.NotebookNode) -> list[str]:
    """What the cells print."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.text for output in outputs if output.output_type == "stream"]


def committed(tutorial: ModuleType) -> nbformat.NotebookNode:
    return nbformat.read(tutorial.TUTORIAL, as_version=4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
def test_it_runs_from_top_to_bottom_and_is_right(tutorial, tmp_path):
    notebook = committed(tutorial)
    notebook.cells.append(nbformat.v4.new_code_cell(RESULTS))
    done = tutorial.run(notebook, project(tmp_path))
    found = json.loads(said(done)[-1])
    assert found["difference"] < 1e-4  # the loop by hand and the library's
    assert found["std"][-1] == pytest.approx(1, abs=0.05)
    assert all(after < before / 1.4 for before, after in found["losses"].values())
    for sampler in ("ddpm", "ddim"):
        assert found["distances"][sampler]["100"] < found["noise"] / 10
    assert found["distances"]["ddim"]["10"] < found["distances"]["ddpm"]["10"]
    assert abs(found["floor"]) < found["noise"] / 20
    assert found["shape"] == [30, 8, 8, 1]
    assert found["unguided"]
    assert [apart > 0 for apart in found["apart"]] == [True, False, True, True]  # from scale 1
    assert "frechet_pixels@12: 1.5, 95 % within 1.25 to 2\n" in said(done)


def test_without_a_checkpoint_it_says_how_to_make_one(tutorial):
    cells = [cell.source for cell in committed(tutorial).cells]
    assert "run `make quick`" in cells[0]
    assert any('raise SystemExit("No checkpoint yet: run `make quick`' in source for source in cells)


def test_what_is_committed_is_small_complete_and_neutral(tutorial):
    text = tutorial.TUTORIAL.read_text()
    assert len(text.encode()) < 300_000
    assert not re.search(r"/(home|root|work|tmp|usr)/|0x[0-9a-f]{8}", text)
    notebook = committed(tutorial)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", {}) for cell in code for output in cell.outputs) >= 5
    tutorial.normalize(notebook)
    assert nbformat.writes(notebook) + "\n" == text
