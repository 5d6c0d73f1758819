"""The six commands, one after the other, and what they leave."""

import json

import numpy as np
import pytest

from ddpm.drawing.png import read_about


def test_all_stages_leave_their_files_and_nothing_unfinished(done):
    metrics = json.loads((done / "results/metrics.json").read_text())
    assert metrics["frechet_pixels@12"]["name"] == "frechet_pixels@12"
    assert metrics["frechet_pixels@12"]["grade"] == "smoke only"
    assert metrics["frechet_pixels_floor@12"]["num_images"] == 12
    images = np.load(done / "data/samples/images.npy", allow_pickle=False)
    assert (images.shape, images.dtype) == ((12, 8, 8, 1), np.uint8)
    assert np.load(done / "data/samples/labels.npy", allow_pickle=False).tolist() == [i % 10 for i in range(12)]
    assert json.loads((done / "results/sample.json").read_text())["nfe"] == 6  # 3 steps, two passes for guidance
    figures = {path.name for path in (done / "results/figures").iterdir()}
    names = ("samples", "progression", "comparison", "loss", "schedule", "forward", "denoising")
    assert figures == {f"{name}.png" for name in names} | {"progression.webp"}
    assert json.loads(read_about(done / "results/figures/samples.png")["ddpm.sample"])["sampler"] == "ddim"
    assert not list(done.rglob("*.tmp"))
    assert not list((done / "work").rglob("step-*.pt"))


def test_the_same_parameters_give_the_same_bytes(done, ddpm):
    def contents():
        files = [*done.glob("data/*/*"), *done.glob("results/**/*.*")]
        report = done / "results" / "report.html"  # says how long the stages took
        return {path.relative_to(done): path.read_bytes() for path in files if path.is_file() and path != report}

    before = contents()
    for stage in ("prepare", "reference", "train", "sample", "evaluate", "figures"):
        assert ddpm(stage).exit_code == 0
    assert contents() == before


def test_explicit_places_leave_the_pipelines_own_files_alone(done, ddpm):
    before = (done / "data/samples/images.npy").read_bytes()
    result = ddpm("sample", "-S", "sample.seed=1", "--out", "work/mine")
    assert result.exit_code == 0
    assert "not recorded in MLflow" in result.stderr
    assert (done / "data/samples/images.npy").read_bytes() == before
    assert (done / "work/mine/images.npy").read_bytes() != before
    assert (done / "work/mine/sample.json").is_file()


def test_image_i_does_not_depend_on_the_batch_size(done, ddpm):
    found = {}
    for batch in (1, 5, 12):
        assert ddpm("sample", "-S", f"sample.batch={batch}", "--out", f"work/{batch}").exit_code == 0
        found[batch] = np.load(done / f"work/{batch}/images.npy", allow_pickle=False)
    assert (found[1] == found[12]).all()
    assert (found[5] == found[12]).all()


def test_interrupted_sampling_goes_on_with_the_same_images(done, ddpm, monkeypatch):
    from ddpm.engine import sample

    many = ("sample", "-S", "sample.num_images=250", "-S", "sample.batch=64")
    assert ddpm(*many, "--out", "work/whole").exit_code == 0
    real, calls = sample.to_pixels, []

    def dies_in_the_third_batch(images):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(images)

    arguments = (*many, "--out", "work/cut")
    monkeypatch.setattr(sample, "to_pixels", dies_in_the_third_batch)
    assert ddpm(*arguments).exit_code == 130
    monkeypatch.setattr(sample, "to_pixels", real)
    assert list((done / "work").rglob("evaluations.npy"))
    assert ddpm(*arguments).exit_code == 0
    for name in ("images.npy", "manifest.json"):
        assert (done / "work/cut" / name).read_bytes() == (done / "work/whole" / name).read_bytes()


@pytest.mark.parametrize(("kind", "target"), [("ddpm", "x0"), ("ddim", "v")])
def test_other_samplers_and_targets_run_from_the_parameters(done, ddpm, kind, target):
    overrides = ("-S", f"objective.target={target}", "-S", f"sample.sampler={kind}", "-S", "schedule.kind=cosine")
    assert ddpm("train", *overrides, "--out", "work/m/ema.safetensors").exit_code == 0
    result = ddpm("sample", *overrides, "--checkpoint", "work/m/ema.safetensors", "--out", "work/m")
    assert result.exit_code == 0, result.output
