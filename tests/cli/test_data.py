"""ddpm data describe: lines for people, a picture whose bytes repeat, and what is refused."""

import json
import subprocess
import sys

import pytest
from PIL import Image


@pytest.fixture
def prepared(project, ddpm):
    assert ddpm("prepare").exit_code == 0
    return project


def test_help_has_an_example(ddpm):
    for arguments in (("data",), ("data", "describe")):
        assert "python -m ddpm data describe" in ddpm(*arguments, "--help").stdout


def test_lines_and_a_picture(prepared, ddpm):
    result = ddpm("data", "describe")
    assert result.exit_code == 0, result.output
    for line in (
        "source        digits",
        "crop          none, bicubic",
        "size          8 x 8, gray",
        "labels        digit, 10 classes",
        "train         1,500 images, selection train",
        "valid         297 images, selection test",
    ):
        assert line in result.stdout.splitlines()
    assert "work/figures/data.png: images of train. Next: " in result.stdout
    with Image.open(prepared / "work" / "figures" / "data.png") as picture:
        assert 1500 < picture.width <= 2000


def test_the_bytes_repeat_wherever_the_data_lie(prepared, ddpm):
    assert ddpm("data", "describe").exit_code == 0
    first = (prepared / "work" / "figures" / "data.png").read_bytes()
    (prepared / "data" / "prepared").rename(prepared / "elsewhere")
    assert "elsewhere/data.png: images of train" in ddpm("data", "describe", "--data", "elsewhere").stdout
    assert (prepared / "elsewhere" / "data.png").read_bytes() == first
    options = ("--split", "valid", "--images", "20", "--seed", "5", "--out", "work/held_out.png")
    assert "work/held_out.png: images of valid" in ddpm("data", "describe", "--data", "elsewhere", *options).stdout
    assert (prepared / "work" / "held_out.png").read_bytes() != first


def test_encoded_images_look_the_same(prepared, ddpm):
    assert ddpm("prepare", "-S", "data.store=encoded", "--out", "encoded").exit_code == 0
    assert ddpm("data", "describe", "--out", "a.png").exit_code == 0
    result = ddpm("data", "describe", "--data", "encoded", "--out", "b.png")
    assert "store         encoded" in result.stdout
    with Image.open(prepared / "a.png") as first, Image.open(prepared / "b.png") as second:
        assert first.tobytes() == second.tobytes()


def test_json_is_the_manifest(prepared, ddpm):
    result = ddpm("data", "describe", "--json")
    assert result.stdout == (prepared / "data" / "prepared" / "manifest.json").read_text()
    assert json.loads(result.stdout)["source"] == "digits"
    assert not (prepared / "work" / "figures" / "data.png").exists()


def test_what_is_refused(project, ddpm, refused):
    way_out = "the data are not prepared; run `python -m ddpm prepare`"
    for options in ((), ("--json",)):
        refused(ddpm("data", "describe", *options), "data/prepared/manifest.json: " + way_out)
    assert not (project / "work").exists()
    refused(ddpm("data", "describe", "--json", "--out", "a.png"), "--json draws nothing: leave --out out", code=2)
    refused(ddpm("data", "describe", "--images", "0"), "0 is not in the range 1<=x<=500", code=2)


def test_nothing_to_show_is_refused_before_anything_is_drawn(project, ddpm, refused):
    settings = ["data.valid_split=none", "train.valid_every=0", "evaluate.floor=false", "evaluate.metrics=[frechet]"]
    result = ddpm("prepare", *(word for setting in settings for word in ("-S", setting)))
    assert result.exit_code == 0, result.output
    refused(ddpm("data", "describe", "--split", "valid"), "data/prepared: --split must have images, valid has none")
    assert "valid         0 images, selection none" in ddpm("data", "describe").stdout


def test_a_look_needs_no_torch(prepared):
    code = "import sys; from ddpm.__main__ import main; main(['data', 'describe'], standalone_mode=False); "
    code += "sys.exit(bool({'torch', 'mlflow', 'pydantic', 'sklearn'} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
