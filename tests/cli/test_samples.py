"""Parts of a set and what becomes of them: ranges, merging, and samples in the forms of other programs."""

import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm.engine import sample_merge

FILES = ("images.npy", "labels.npy", "manifest.json")


@pytest.fixture
def trained(project, ddpm):
    for command in ("prepare", "train"):
        assert ddpm(command).exit_code == 0
    return project


@pytest.fixture
def draw(ddpm):
    """Draw images A..B-1 into a folder of their name; returns the name."""

    def part(numbers, *settings):
        out = numbers.replace(":", "-")
        result = ddpm("sample", *settings, "--range", numbers, "--out", out)
        assert result.exit_code == 0, result.output
        return out

    return part


def manifest(folder):
    return json.loads((folder / "manifest.json").read_bytes())


def test_merged_parts_are_the_bytes_of_one_run(trained, ddpm, draw, monkeypatch):
    monkeypatch.setattr(sample_merge, "CHUNK_BYTES", 150)  # two images
    whole = ddpm("sample", "--out", "whole")
    assert re.search(r"sample: 12 images, [\d.]+ images/s, \d+ network evaluations/s", whole.stderr)
    parts = [draw("5:11"), draw("0:5", "-S", "sample.batch=1"), draw("11:12")]
    assert manifest(trained / parts[0])["range"] == [5, 11]
    result = ddpm("samples", "merge", *parts, "--out", "merged")
    assert result.exit_code == 0, result.output
    assert "merged: 12 images in images.npy. Next: python -m ddpm evaluate" in result.stdout
    for name in FILES:
        assert (trained / "merged" / name).read_bytes() == (trained / "whole" / name).read_bytes()
    assert json.loads((trained / parts[0] / "sample.json").read_bytes())["num_images"] == 6


def test_what_is_no_whole_set_is_refused(trained, ddpm, draw, refused):
    first, second, more, other = draw("0:5"), draw("5:12"), draw("3:6"), draw("5:11", "-S", "sample.seed=3")

    def merge(*parts, out="merged"):
        return ddpm("samples", "merge", *parts, "--out", out)

    refused(merge(first), "must hold all images 0:12, got none of 5:12; draw them with")
    refused(merge(second), "got none of 0:5")
    refused(merge(first, second, more), "got 3:5 in 0-5 and in 3-6; leave one out")
    refused(merge(first, first, second), "got 0:5 in 0-5 and in 0-5; leave one out")
    refused(merge(first, other), "5-11/manifest.json: sample.seed must be 0 as in 0-5, got 3; merge parts of one set")
    refused(merge(first, second, out=first), "--out must not be one of the parts, got 0-5")
    refused(merge(first, "nowhere"), "nowhere/manifest.json: no such file")
    images = np.load(trained / second / "images.npy")
    images[0, 0, 0, 0] ^= 1
    np.save(trained / second / "images.npy", images)
    refused(merge(first, second), "5-12/images.npy: sha256 must be", "copy or draw the part again")
    (trained / second / "manifest.json").write_text("[]")
    refused(merge(first, second), "must be a manifest of `python -m ddpm sample`")
    assert not (trained / "merged").exists()


@pytest.mark.parametrize("numbers", ["5", "5:", "5:5", "6:5", "0:13", "-1:5", "a:b", "0:5:1"])
def test_ranges_that_are_none(project, ddpm, refused, numbers):
    refused(
        ddpm("sample", f"--range={numbers}", "--out", "part"),
        f"--range must be A:B with 0 <= A < B <= sample.num_images = 12, got {numbers}",
    )


def test_a_part_never_lies_in_the_place_of_the_whole(project, ddpm, refused):
    for out in ("data/samples", str(project / "data" / "samples")):
        refused(ddpm("sample", "--range", "0:5", "--out", out), "--range must go with an --out other than data/samples")
    refused(ddpm("sample", "--range", "0:5"), "other stages would take the part for the whole; name another folder")


def test_samples_are_exported_in_every_form(trained, ddpm, refused):
    assert ddpm("sample", "--out", "set").exit_code == 0
    images, labels = np.load(trained / "set" / "images.npy"), np.arange(12) % 10

    def export(form, out, *options, source="set"):
        return ddpm("samples", "export", source, "--format", form, "--out", out, *options)

    assert "png: 12 images. Next: " in export("png", "png").stdout
    with Image.open(trained / "png" / "000011.png") as last:
        assert (np.asarray(last) == images[11, ..., 0]).all()
    assert export("zip", "a.zip").exit_code == 0
    with zipfile.ZipFile(trained / "a.zip") as archive:
        assert len(archive.namelist()) == 12
    assert "gray, repeated to 3 channels" in export("npz", "adm").stdout
    with np.load(trained / "adm" / "samples_12x8x8x3.npz", allow_pickle=False) as found:
        assert (found["arr_0"] == images.repeat(3, axis=3)).all()
        assert (found["arr_1"] == labels).all()
    assert "12 images in 2 sheets" in export("grid", "sheets", "--grid", "2x4", "--zoom", "3").stdout
    assert len(list((trained / "sheets").iterdir())) == 2
    refused(export("png", "png"), "png: must be new or empty, got 12 files", "--force")
    refused(export("zip", "a.zip"), "a.zip: must not exist, got a file", "--force")
    assert export("png", "png", "--force", source="set/images.npy").exit_code == 0
    assert export("zip", "a.zip", "--force").exit_code == 0
    refused(export("grid", "more", "--grid", "2by4"), "must be ROWSxCOLUMNS, such as 10x10, got 2by4", code=2)
    refused(export("png", "more", source="nowhere"), "nowhere: no such file")
