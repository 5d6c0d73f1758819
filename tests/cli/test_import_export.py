"""`import` and `export`: what they write, what they say, and that every stage takes an imported net."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
UNLABELED = ("model.num_classes=0", "objective.label_dropout=0.0", "sample.guidance_scale=1.0")
STEPS = 12


def own(project, *overrides):
    """A checkpoint of ours that nobody has to train."""
    from ddpm.engine.build import build_net
    from ddpm.engine.checkpoint import Checkpoint, save_checkpoint
    from ddpm.experiment.params_file import load

    params = load(project / "params.yaml", overrides)
    sections = params.data, params.model, params.objective
    weights = dict(build_net(*sections).state_dict())
    checkpoint = Checkpoint(params.data, params.schedule, *sections[1:], step=600, weights=weights)
    save_checkpoint(project / "work/own/ema.safetensors", checkpoint)


@pytest.fixture
def folder(project, ddpm):
    """A folder of diffusers that nobody here made: exported, and without our record."""
    own(project, *UNLABELED, f"schedule.T={STEPS}", "sample.steps=4")
    result = ddpm("export", "work/own/ema.safetensors", "--out", "work/foreign", "-S", "sample.spacing=uniform")
    assert result.exit_code == 0, result.output
    file = project / "work/foreign/unet/diffusion_pytorch_model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt"})
    return project / "work/foreign"


def test_every_stage_takes_an_imported_net(folder, project, ddpm):
    before = (project / "params.yaml").read_bytes()
    arguments = ["import", "work/foreign", "--out", "work/in/ema.safetensors", "--params-out", "work/in/params.yaml"]
    result = ddpm(*arguments)
    assert result.exit_code == 0, result.output
    assert "images are 8x8x1; their source (digits) is what params.yaml says" in result.stderr
    assert (project / "params.yaml").read_bytes() == before

    assert ddpm("prepare").exit_code == 0
    assert ddpm("reference").exit_code == 0
    (said,) = re.findall(r"^Next: python -m ddpm (.*)$", result.stdout, flags=re.M)
    fast = ["-S", "sample.steps=3", "-S", "sample.batch=12"]
    fit = ["--params", "work/in/params.yaml", *fast]
    samples, drawn = ["--samples", "work/in/samples/images.npy"], ["--metrics", "work/in/metrics.json"]
    for words in (
        [*shlex.split(said), *fast],
        ["evaluate", *fit, *samples, "--out", "work/in/metrics.json"],
        ["likelihood", "--checkpoint", "work/in/ema.safetensors", "--num-images", "2", "--out", "work/in/l.json"],
        ["figures", *fit, *samples, *drawn, "--checkpoint", "work/in/ema.safetensors", "--out", "work/in/figures"],
    ):
        result = ddpm(*words)
        assert result.exit_code == 0, (words, result.output)
    assert (project / "work/in/figures/denoising.png").is_file()
    assert not (project / "work/in/figures/loss.png").exists()  # it was trained elsewhere
    assert ddpm("train", *fit, "--out", "work/in/again/ema.safetensors").exit_code == 0


def test_the_sampler_that_is_printed_works_without_a_parameter_file(folder, ddpm, project):
    result = ddpm("import", "work/foreign", "--out", "work/in/ema.safetensors")
    (said,) = re.findall(r"^Next: python -m ddpm (.*)$", result.stdout, flags=re.M)
    assert "-S sample.sampler=ddpm" in said
    assert f"-S sample.steps={STEPS}" in said
    assert ddpm(*shlex.split(said), "-S", "sample.batch=12").exit_code == 0
    assert np.load(project / "work/in/samples/images.npy", allow_pickle=False).shape == (12, 8, 8, 1)
    assert "--params-out" in result.stderr


def test_an_exported_checkpoint_comes_back_the_same(project, ddpm, refused):
    own(project)
    result = ddpm("export", "work/own/ema.safetensors", "--out", "work/out")
    assert result.exit_code == 0, result.output
    assert "10 is the null label" in result.stderr
    assert "UNet2DModel.from_pretrained('work/out/unet')" in result.stdout
    assert not (project / "work/out/model_index.json").exists()
    (project / "work/out/model_index.json").write_text("{}")
    refused(ddpm("export", "work/own/ema.safetensors", "--out", "work/out"), "must not stand beside a net with labels")
    assert ddpm("import", "work/out", "--out", "work/back.safetensors").exit_code == 0
    assert (project / "work/back.safetensors").read_bytes() == (project / "work/own/ema.safetensors").read_bytes()
    assert not list(project.rglob("*.tmp"))


def test_the_same_export_gives_the_same_bytes(folder, project, ddpm):
    contents = []
    for name in ("a", "b"):
        assert ddpm("export", "work/own/ema.safetensors", "--out", f"work/{name}").exit_code == 0
        files = sorted(path for path in (project / "work" / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(project / "work" / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]
    assert [path.name for path, _ in contents[0]] == [
        "model_index.json",
        "scheduler_config.json",
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]


def test_a_parameter_file_that_cannot_fit_is_refused_before_anything_is_written(folder, project, ddpm, refused):
    config = folder / "unet/config.json"
    settings = json.loads(config.read_text()) | {"in_channels": 3, "out_channels": 3}
    config.write_text(json.dumps(settings))
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights |= {"conv_in.weight": weights["conv_in.weight"].expand(-1, 3, -1, -1).contiguous()}
    weights |= {"conv_out.weight": weights["conv_out.weight"].expand(3, -1, -1, -1).contiguous()}
    save_file(weights | {"conv_out.bias": torch.zeros(3)}, file, metadata={"format": "pt"})
    arguments = ("import", "work/foreign", "--out", "work/in/ema.safetensors")
    refused(
        ddpm(*arguments, "--params-out", "work/in/params.yaml"),
        "--params-out must fit the imported net, got params.yaml: data.channels must be 1 for digits, got 3",
        "begin from another recipe with --params",
    )
    assert not (project / "work/in").exists()
    assert ddpm(*arguments).exit_code == 0
    cifar10 = ROOT / "pipeline/recipes/cifar10.yaml"
    result = ddpm(*arguments, "--params-out", "work/in/params.yaml", "--params", str(cifar10))
    assert result.exit_code == 0, result.output


def test_what_cannot_be_exported_is_said_and_nothing_is_written(project, ddpm, refused):
    own(project, "model.stem=7")
    result = ddpm("export", "work/own/ema.safetensors", "--out", "work/out")
    refused(result, "model.stem must be 3 to be exported, got 7")
    assert not (project / "work/out").exists()


def test_wrong_sources_are_said_in_one_line(project, ddpm, refused):
    refused(ddpm("import", "nowhere", "--out", "a.safetensors"), "nowhere: no such file; name a folder of diffusers")
    (project / "cut.pth").write_bytes(b"PK\x03\x04")
    refused(ddpm("import", "cut.pth", "--out", "a.safetensors"), "cut.pth: not a file of torch.save, or damaged")
    refused(ddpm("export", "nowhere", "--out", "b"), "nowhere: no such checkpoint")
    refused(ddpm("import", "cut.pth", "--out", "a.safetensors", "--format", "onnx"), "onnx", code=2)
    refused(ddpm("import", "cut.pth"), "--out", code=2)
    assert {path.name for path in project.iterdir()} == {"params.yaml", "cut.pth"}


def test_the_place_of_the_pipeline_is_taken_only_with_a_warning(folder, project, ddpm):
    result = ddpm("import", "work/foreign", "--out", "data/weights/ema.safetensors")
    assert result.exit_code == 0
    assert "`dvc repro` will train again over these weights" in result.stderr
    with safe_open(project / "data/weights/ema.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["ddpm"])["step"] == 0
