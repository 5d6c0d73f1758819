"""`average` and `best` from the command line, on the averages that one tiny training leaves behind."""

import json

import pytest

AVERAGES = "data/weights/averages"


@pytest.fixture
def trained(project, ddpm):
    """A project with averages of two widths and a decay, each at steps 2 and 4."""
    changes = ("-S", "train.ema_widths=[0.05,0.1]", "-S", "train.snapshot_every=2", "-S", "train.preview_every=0")
    for command in ("prepare", "reference", "train"):
        result = ddpm(command, *changes)
        assert result.exit_code == 0, result.output
    return project


def test_an_average_is_put_together_and_sampled_from(trained, ddpm):
    result = ddpm("average", "--width", "0.07", "--out", "work/width.safetensors")
    assert result.exit_code == 0, result.output
    line = result.stdout.splitlines()[-1]
    assert line.startswith("work/width.safetensors: width 0.07 at step 4 from 4 snapshots, residual 0.0")
    assert "the residual is large" not in result.stderr
    result = ddpm(*line.partition("Next: python -m ddpm ")[2].split())
    assert result.exit_code == 0, result.output
    assert (trained / "work/width/images.npy").is_file()

    result = ddpm("average", "--width", "0.1", "--step", "3", "--out", "work/between.safetensors")
    assert result.exit_code == 0, result.output
    assert "the residual is large; take a width near the stored ones (0.05, 0.1), a stored step" in result.stderr


def test_the_best_is_a_copy_of_its_file_and_the_table_stands_beside(trained, ddpm):
    arguments = ("best", "--num-images", "6", "--out", "work/best/best.safetensors")
    result = ddpm(*arguments)
    assert result.exit_code == 0, result.output
    record = json.loads((trained / "work/best/best.json").read_text())
    files = sorted(path.name for path in (trained / AVERAGES).glob("*.safetensors"))
    assert [candidate["file"] for candidate in record["candidates"]] == files
    assert len(files) >= 6
    best = min(record["candidates"], key=lambda candidate: candidate["record"]["value"])
    assert record["chosen"] == best["file"]
    assert best["record"]["num_images"] == 6
    copied = (trained / "work/best/best.safetensors").read_bytes()
    assert copied == (trained / AVERAGES / best["file"]).read_bytes()
    head, first, *_ = result.stdout.splitlines()
    assert head.split() == ["average", "step", "frechet_pixels@6"]
    assert first.split() == [best["average"], str(best["step"]), f"{best['record']['value']:.4f}"]
    assert not list((trained / "work/best").glob("*/*.json"))  # unfinished work is removed

    before = (trained / "work/best/best.json").read_bytes()
    assert ddpm(*arguments).exit_code == 0
    assert (trained / "work/best/best.json").read_bytes() == before  # the same again


def test_what_cannot_be_done_is_refused_in_one_line(trained, ddpm, refused):
    for arguments, message in (
        (("average", "--width", "0.3"), "width of an average must be in (0, 0.28), got 0.3"),
        (("average", "--width", "0.1", "--snapshots", "data"), "must hold at least two snapshots"),
        (("average", "--width", "0.1", "--step", "5"), "must be in 1..4, the last step of the snapshots, got 5"),
        (("best", "--snapshots", "data"), "data: must hold at least one checkpoint"),
        (("best", "--reference", "none.npz"), "none.npz"),
        (("best", "-S", "sample.steps=1001"), "sample.steps must be at most"),
    ):
        refused(ddpm(*arguments, "--out", "a.safetensors"), message)
        assert not (trained / "a.safetensors").exists()
