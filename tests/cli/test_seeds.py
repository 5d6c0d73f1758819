"""A distance over several sampling seeds."""

import json

import numpy as np
import pytest

TINY = ("-S", "sample.num_images=6", "-S", "evaluate.num_images=6", "-S", "figures.grid_columns=3")


def test_each_seed_is_what_sample_and_evaluate_give(done, ddpm):
    result = ddpm("seeds", "--count", "3", *TINY)
    assert result.exit_code == 0, result.output
    found = json.loads((done / "work/seeds.json").read_text())
    values = [record["value"] for record in found["seeds"].values()]
    assert list(found["seeds"]) == ["0", "1", "2"]
    assert len(set(values)) == 3
    assert (found["mean"], found["std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert found["smallest"] == min(values)
    assert f"frechet_pixels@6: {found['mean']:.4f} +- {found['std']:.4f} over 3 seeds" in result.stdout
    assert ddpm("sample", *TINY, "-S", "sample.seed=2", "--out", "work/two").exit_code == 0
    assert ddpm("evaluate", *TINY, "--samples", "work/two/images.npy", "--out", "work/two/m.json").exit_code == 0
    record = json.loads((done / "work/two/m.json").read_text())["frechet_pixels@6"]
    assert {key: record[key] for key in found["seeds"]["2"]} == found["seeds"]["2"]


def test_a_single_seed_has_no_deviation(done, ddpm, refused):
    refused(ddpm("seeds", "--count", "1"), "1 is not in the range", code=2)
