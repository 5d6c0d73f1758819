"""Bad input: one clear line, exit code 1 or 2, and nothing lost."""

import os
import sys

import pytest

from ddpm.experiment.workspace import file_lock  # noqa: F401  (imported early: monkeypatched modules must be loaded)


def test_a_typo_in_the_file(project, ddpm, refused):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("beta_T", "betaT"))
    result = ddpm("train")
    refused(result, "schedule.beta_T is missing", "schedule.betaT is not a parameter; did you mean schedule.beta_T?")
    assert not (project / "data").exists()


def test_a_wrong_type_on_the_command_line(project, ddpm, refused):
    refused(ddpm("train", "-S", "train.steps=many"), "train.steps must be a valid integer, got 'many'")


def test_an_unknown_command(project, ddpm, refused):
    refused(ddpm("trian"), "No such command 'trian'", code=2)


def test_missing_data(project, ddpm, refused):
    refused(ddpm("train"), "data/prepared/train.npy", "python -m ddpm prepare")
    refused(ddpm("evaluate"), "data/samples/images.npy: no such file; make it with `python -m ddpm sample`")
    refused(ddpm("sample"), "no such checkpoint; make it with `python -m ddpm train`")


def test_missing_celeba_says_what_to_download(project, ddpm, refused):
    arguments = ["data.source=celeba", "data.name=celeba", "data.crop=ddim-128", "data.channels=3", "data.labels=none"]
    arguments += [
        "data.valid_split=valid",
        "model.num_classes=0",
        "objective.label_dropout=0.0",
        "sample.guidance_scale=1",
    ]
    result = ddpm("prepare", *(part for argument in arguments for part in ("-S", argument)))
    refused(result, "data/raw/celeba: the downloaded files must be here", "data/README.md")


def test_data_of_another_size(done, ddpm, refused):
    refused(
        ddpm("train", "-S", "data.image_size=16", "-S", "model.attention=[8]"),
        "images must be (16, 16, 1)",
        "python -m ddpm prepare",
    )


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("data/prepared/train.npy", "train"),
        ("data/weights/ema.safetensors", "sample"),
        ("data/samples/images.npy", "evaluate"),
        ("data/reference/statistics.npz", "evaluate"),
    ],
)
def test_truncated_files(done, ddpm, file, command, refused):
    path = done / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(ddpm(command), file)


def test_a_foreign_checkpoint(done, ddpm, refused):
    (done / "foreign.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    refused(ddpm("sample", "--checkpoint", "foreign.safetensors"), "foreign.safetensors")


def test_wrong_weights_of_the_fid_network(done, ddpm, refused):
    (done / "weights.pth").write_bytes(b"not the network")
    result = ddpm("reference", "-S", "reference.features=inception", "--weights", "weights.pth", "--out", "work/r.npz")
    refused(result, "weights.pth", "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2")


def test_missing_weights_are_never_replaced(done, ddpm, monkeypatch, refused):
    monkeypatch.setenv("TORCH_HOME", str(done / "hub"))
    monkeypatch.delenv("DDPM_INCEPTION_WEIGHTS", raising=False)
    refused(ddpm("reference", "-S", "reference.features=inception", "--out", "work/r.npz"), "--download")


def test_a_gpu_that_is_not_there(done, ddpm, refused):
    import torch

    if torch.cuda.is_available():
        refused(ddpm("train", "-S", "train.precision=fp16", "--device", "cpu"), "precision fp16 needs a GPU")
    else:
        refused(ddpm("train", "--device", "cuda"), "no GPU; use --device cpu or auto")


def test_a_file_where_a_folder_must_be(done, ddpm, refused):
    (done / "blocked").write_text("")
    refused(ddpm("sample", "--out", "blocked"), "blocked", "writable folder")


def test_a_full_disk_while_writing_keeps_what_was_there(done, ddpm, monkeypatch, refused):
    import shutil

    before = (done / "data/samples/images.npy").read_bytes()

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, os.strerror(28), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    refused(ddpm("sample", "-S", "sample.seed=5"), "no space left on device")
    assert (done / "data/samples/images.npy").read_bytes() == before
    assert not list(done.rglob("*.tmp"))
    monkeypatch.undo()
    assert "sample.seed" not in sys.argv


def test_a_full_disk_is_noticed_before_anything_is_sampled(done, ddpm, monkeypatch, refused):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    refused(ddpm("sample", "--out", "work/full"), "no space left on device")
    assert not (done / "work/full").exists()


def test_samples_of_another_size_than_the_reference(done, ddpm, refused):
    larger = ("-S", "data.image_size=16", "-S", "model.attention=[8]")
    assert ddpm("prepare", *larger, "--out", "work/p16").exit_code == 0
    assert ddpm("reference", *larger, "--data", "work/p16", "--out", "work/r16.npz").exit_code == 0
    refused(ddpm("evaluate", "--reference", "work/r16.npz", "--out", "work/m.json"), "samples must be 16x16")


def test_guidance_without_label_dropout(done, ddpm, refused):
    overrides = ("-S", "objective.label_dropout=0.0", "-S", "sample.guidance_scale=1.0")
    assert ddpm("train", *overrides, "--out", "work/p/ema.safetensors").exit_code == 0
    refused(
        ddpm("sample", "--checkpoint", "work/p/ema.safetensors", "--out", "work/p"), "trained without label dropout"
    )


def test_a_recipe_that_does_not_exist(project, ddpm, refused):
    refused(ddpm("recipe", "celeba"), "there is no recipe 'celeba'; the recipes are", code=2)


def test_a_recipe_keeps_an_edited_parameter_file(project, ddpm):
    edited = (project / "params.yaml").read_bytes()
    result = ddpm("recipe", "quick")
    assert result.exit_code == 0
    assert [path.read_bytes() for path in project.glob("params.*.yaml")] == [edited]
    assert "is kept here" in result.stderr
