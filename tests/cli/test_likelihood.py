"""`likelihood` and `invert` from the command line, on one tiny net."""

import json

import numpy as np
import pytest

from ddpm.drawing.png import read_about


@pytest.fixture
def trained(project, ddpm):
    """A project with prepared digits and weights; T is short, since a bound asks the net T times."""
    for command in ("prepare", "train"):
        result = ddpm(command, "-S", "schedule.T=20", "-S", "sample.steps=3")
        assert result.exit_code == 0, result.output
    return project


def test_both_commands_say_what_they_found_and_where_it_is(trained, ddpm):
    result = ddpm("likelihood", "--num-images", "3", "--batch", "2")
    assert result.exit_code == 0, result.output
    record = json.loads((trained / "results/likelihood.json").read_text())
    assert (record["method"], record["split"], record["num_images"]) == ("vlb", "valid", 3)
    assert len(record["weights_sha256"]) == 64
    last = result.stdout.splitlines()[-1]
    assert f"{record['bits_per_dim']:.4f}" in last
    assert "likelihood.json" in last
    assert "Next:" in last

    result = ddpm("likelihood", "--method", "ode", "--num-images", "1", "--tolerance", "0.01", "--out", "work/o.json")
    assert result.exit_code == 0, result.output
    assert json.loads((trained / "work/o.json").read_text())["protocol"]["probes"] == 1

    result = ddpm("invert", "--num-images", "2", "--steps", "5")
    assert result.exit_code == 0, result.output
    latents = np.load(trained / "work/invert/latents.npy", allow_pickle=False)
    assert (latents.shape, latents.dtype) == ((2, 1, 8, 8), np.float32)
    assert read_about(trained / "work/invert/invert.png")["ddpm.invert"] == "5 steps"
    assert "dB PSNR" in result.stdout


def test_own_images_are_inverted_with_own_labels(trained, ddpm):
    np.save("mine.npy", np.zeros((2, 8, 8, 1), np.uint8))
    np.save("labels.npy", np.array([3, 4]))
    np.save("wrong.npy", np.array([3, 10]))
    np.save("short.npy", np.array([3]))
    arguments = ("invert", "--images", "mine.npy", "--num-images", "2", "--steps", "2")
    assert ddpm(*arguments, "--labels", "labels.npy").exit_code == 0
    for labels, message in (
        ((), "--labels must be given with --images for a net with 10 classes, got none"),
        (("--labels", "wrong.npy"), "must hold labels in 0..9, got 3..10"),
        (("--labels", "short.npy"), "must hold an int64 label for each of 2 images"),
    ):
        result = ddpm(*arguments, *labels)
        assert result.exit_code == 1
        assert message in result.stderr
    result = ddpm("invert", "--steps", "2", "--labels", "labels.npy")
    assert result.exit_code == 1
    assert "--images must be given with --labels" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("likelihood", "--num-images", "100000"), "--num-images must be at most"),
        (("likelihood", "--variance", "learned"), "--variance must be fixed_small or fixed_large"),
        (("likelihood", "--checkpoint", "none.safetensors"), "no such checkpoint"),
        (("invert", "--guidance-scale", "2"), "--guidance-scale must be 1, got 2"),
        (("invert", "--steps", "21"), "--steps must be at most the checkpoint's T = 20"),
        (("invert", "--steps", "5", "--num-images", "100000"), "--num-images must be at most"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(trained, ddpm, arguments, message):
    result = ddpm(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (trained / "results/likelihood.json").exists()
