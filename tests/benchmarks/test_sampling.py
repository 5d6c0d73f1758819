"""The benchmark of sampling: one net in two projects, and what is computed from times."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import pipelines, sampling
from benchmarks.loops import load_recipe
from benchmarks.pipelines import DIFFUSERS, OURS, Way, build, difference, random_checkpoint, ways
from benchmarks.rounds import Timing
from benchmarks.sampling import AS_IT_IS, IN_BF16, Row, faster, limits

CPU = torch.device("cpu")
SHORT = ["sample.steps=2", "sample.batch=3", "sample.compile=false", "figures.strip_columns=2"]


def test_both_nets_are_one(tiny):
    params = load_recipe("cifar10", 0, [*tiny, *SHORT], CPU)
    checkpoint = random_checkpoint(params)
    assert all(tensor.abs().max() > 1e-3 for tensor in checkpoint.weights.values())
    assert difference(params, checkpoint) < 1e-4
    other = {**checkpoint.weights, "conv_out.bias": checkpoint.weights["conv_out.bias"] + 1}
    twin = pipelines.diffusers_twin
    try:
        pipelines.diffusers_twin = lambda params, checkpoint: twin(params, replace(checkpoint, weights=other))
        assert difference(params, checkpoint) > 1e-2
    finally:
        pipelines.diffusers_twin = twin


def test_images_need_not_be_square(tiny):
    params = load_recipe("cifar10", 0, [*tiny, *SHORT, "data.image_width=16"], CPU)
    checkpoint = random_checkpoint(params)
    assert difference(params, checkpoint) < 1e-4
    for who in (OURS, DIFFUSERS):
        assert build(Way(who, "float32"), params, checkpoint, CPU).draw().shape == (3, 8, 16, 3)


@pytest.mark.parametrize("way", [Way(OURS, "float32"), Way(DIFFUSERS, "float32"), Way(DIFFUSERS, "bf16")])
def test_a_way_draws_a_batch_with_one_evaluation_a_step(tiny, way: Way):
    params = load_recipe("cifar10", 0, [*tiny, *SHORT], CPU)
    drawing = build(way, params, random_checkpoint(params), CPU)
    images = drawing.draw()
    assert images.shape == (3, 8, 8, 3)
    assert images.dtype == np.uint8
    assert images.std() > 5
    assert drawing.evaluations() == 2 * 3


def test_ours_is_first_and_in_bf16_where_the_processor_has_it(tiny, monkeypatch):
    params = load_recipe("cifar10", 0, [*tiny, *SHORT], CPU)
    monkeypatch.setattr(pipelines, "cpu_flags", lambda: {"avx512_bf16"})
    assert [way.label for way in ways(params, CPU)] == [
        "ddpm, bf16", "ddpm, float32", "diffusers, float32", "diffusers, bf16",
    ]  # fmt: skip
    monkeypatch.setattr(pipelines, "cpu_flags", lambda: {"avx2"})
    assert ways(params, CPU)[0] == Way(OURS, "float32")


def test_bars_are_held_against_the_mode_of_the_device():
    rows = [Row(way, 16, 10, Timing((s, s))) for way, s in [(Way(OURS, "bf16"), 1.0), (AS_IT_IS, 3.0), (IN_BF16, 1.5)]]
    assert faster(rows, AS_IT_IS) == {"best": 3.0, "median": 3.0}
    assert [bar.met for bar in limits(rows, 1e-5, gpu=False)] == [True, None, True]
    assert [bar.met for bar in limits(rows, 1e-3, gpu=True)] == [None, False, False]


def test_the_command_writes_a_row_for_every_way(words, tmp_path):
    arguments = ["--device", "cpu", "--images", "2", "--steps", "2", "--rounds", "1", *words, "--out", str(tmp_path)]
    result = CliRunner().invoke(sampling.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.glob("*.json")
    rows = json.loads(file.read_text())["rows"]
    assert {row["way"]["who"] for row in rows} == {OURS, DIFFUSERS}
    assert all(row["evaluations"] == 2 for row in rows)
    for row in rows:
        assert row["evaluations_per_second"]["best"] == pytest.approx(2 * row["images_per_second"]["best"])
    assert "times 2 / 1,000" in file.with_suffix(".md").read_text()


def test_an_unknown_recipe_is_refused():
    result = CliRunner().invoke(sampling.main, ["--recipe", "none", "--device", "cpu"])
    assert result.exit_code == 1
    assert "--recipe none: must be one of" in result.output
