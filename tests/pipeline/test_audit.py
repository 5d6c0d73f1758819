"""The comparison of dvc.yaml with the code."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml.comments import CommentedMap

from ddpm.experiment.stages import Stage
from pipeline import audit

DVC_YAML = """\
# The stages.
stages:
  train:
    desc: 'Train the "net".'
    cmd: python -m ddpm train
    deps:
      - data/prepared/train.npy # the images
      # code, kept by pipeline.audit
      - ddpm/engine/train.py
      - ddpm/nets/unet.py # the network
    params: [model, train]
    outs:
      - data/weights/ema.safetensors
    metrics:
      - results/train.json:
          cache: false
    plots:
      - results/train.csv:
          cache: false
"""
CODE = ["ddpm/engine/train.py", "ddpm/nets/unet.py"]
TRAIN = Stage(
    name="train",
    sections=("model", "train"),
    upstream=(),
    inputs=(Path("data/prepared/train.npy"),),
    outputs=(Path("data/weights/ema.safetensors"),),
    numbers=Path("results/train.json"),
    curve=Path("results/train.csv"),
)


def parse(text: str) -> CommentedMap:
    return audit.round_trip().load(text)


def dump(document: CommentedMap) -> str:
    stream = io.StringIO()
    audit.round_trip().dump(document, stream)
    return stream.getvalue()


def differences(text: str, code: list[str]) -> list[str]:
    return audit.audit(parse(text)["stages"], {"train": TRAIN}, {"train": code})


def test_agreement_is_silent():
    assert differences(DVC_YAML, CODE) == []


@pytest.mark.parametrize(
    ("old", "new", "place", "entry"),
    [
        ("      - ddpm/nets/unet.py # the network\n", "", "deps misses; add", "ddpm/nets/unet.py"),
        ("ddpm/nets/unet.py", "ddpm/nets/vit.py", "deps lists what the stage does not use; remove", "ddpm/nets/vit.py"),
        ("data/prepared/train.npy", "data/prepared/valid.npy", "deps misses; add", "data/prepared/train.npy"),
        ("[model, train]", "[model]", "params misses; add", "train"),
        ("[model, train]", "[{params.yaml: [model, train, data]}]", "params lists what the stage does not use", "data"),
        ("results/train.csv", "results/curve.csv", "outs misses; add", "results/train.csv"),
    ],
)
def test_each_difference_is_named_with_a_line_to_paste(old: str, new: str, place: str, entry: str):
    lines = differences(DVC_YAML.replace(old, new), CODE)
    found = next(index for index, line in enumerate(lines) if f"stages.train.{place}" in line)
    assert lines[found + 1] == f"      - {entry}"


def test_params_of_another_file_are_no_sections():
    assert differences(DVC_YAML.replace("[model, train]", "[model, train, {other.yaml: [a]}]"), CODE)


def test_pictures_may_be_listed_one_by_one():
    figures = Stage(name="figures", sections=(), upstream=(), inputs=(), outputs=(), figures=Path("results/figures"))
    listed = {"figures": {"plots": [{"results/figures/a.png": {"cache": False}}, "results/figures/b.png"]}}
    assert audit.audit(listed, {"figures": figures}, {"figures": []}) == []
    assert audit.audit({"figures": {}}, {"figures": figures}, {"figures": []})[1] == "      - results/figures"


def test_unknown_and_missing_stages_are_named():
    lines = audit.audit({"trane": {}}, {"train": TRAIN}, {"train": CODE})
    assert lines == ["dvc.yaml: stages misses train; add it", "dvc.yaml: stages.trane is no stage of ddpm; remove it"]


def test_round_trip_keeps_the_bytes():
    assert dump(parse(DVC_YAML)) == DVC_YAML


def test_rewrite_keeps_comments_and_data():
    document = parse(DVC_YAML)
    audit.rewrite(document["stages"]["train"]["deps"], ["ddpm/engine/state.py", "ddpm/nets/unet.py"])
    text = dump(document)
    assert differences(text, ["ddpm/engine/state.py", "ddpm/nets/unet.py"]) == []
    assert list(document["stages"]["train"]["deps"]) == [
        "data/prepared/train.npy",
        "ddpm/engine/state.py",
        "ddpm/nets/unet.py",
    ]
    for comment in ("# The stages.", "train.npy # the images", "unet.py # the network"):
        assert comment in text


def test_rewrite_fills_an_empty_list():
    document = parse("stages:\n  train:\n    deps: []\n")
    audit.rewrite(document["stages"]["train"]["deps"], reversed(CODE))
    assert dump(document).endswith("    deps:\n      - ddpm/engine/train.py\n      - ddpm/nets/unet.py\n")


def test_command_writes_and_then_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit, "STAGES", {"train": TRAIN})
    monkeypatch.setattr(audit, "measure", lambda *_: {"train": CODE})
    Path("dvc.yaml").write_text(DVC_YAML.replace("ddpm/nets/unet.py", "ddpm/nets/vit.py"))
    refused = CliRunner().invoke(audit.main)
    assert refused.exit_code == 1
    assert "      - ddpm/nets/unet.py" in refused.output
    assert CliRunner().invoke(audit.main, ["--write"]).exit_code == 0
    assert CliRunner().invoke(audit.main).exit_code == 0


def test_command_names_the_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(audit.main)
    assert refused.exit_code == 1
    assert "dvc.yaml must be in the current folder" in refused.output
