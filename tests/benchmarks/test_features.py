"""The benchmark of evaluation: networks that agree, distances with a closed form, and bars in both directions."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import features, frechets
from benchmarks.features import Distance, Network, faster, limits
from benchmarks.inceptions import COUNTERPARTS, OURS_PYTORCH, OURS_TF1, difference, random_pictures, random_state
from benchmarks.limits import Limit, limits_json, limits_table, once
from benchmarks.rounds import Timing


def test_a_bar_holds_in_its_direction_and_by_the_median():
    measured = {"best": 2.0, "median": 1.0}
    assert Limit("", 1.0, measured).met
    assert not Limit("", 1.5, measured).met
    assert not Limit("", 1.0, measured, below=True).met
    assert Limit("", 1.5, measured, below=True).met
    assert Limit("", 1.0, None).met is None
    found = limits_table([Limit("a", 1, once(2.0)), Limit("b", 3, once(2.0)), Limit("c", 3, None, below=True)])
    assert [line.split(" | ")[-1] for line in found.splitlines()[2:]] == ["met |", "MISSED |", "not measured |"]
    assert "| b | at least 3 | 2 | 2 |" in found
    assert "| c | less than 3 |" in found
    assert limits_json([Limit("b", 3, once(2.0))])[0]["met"] is False


def test_the_random_weights_have_the_published_form():
    state = random_state()
    assert len(state) == 472
    assert state["Mixed_7c.branch1x1.conv.weight"].shape == (320, 2048, 1, 1)
    assert all(torch.equal(tensor, random_state()[name]) for name, tensor in list(state.items())[:5])


def test_pictures_are_the_same_each_time_and_differ_among_themselves():
    pictures = random_pictures(3)
    assert pictures.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(pictures, random_pictures(3))
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 10


def test_the_difference_is_in_standard_deviations():
    rows = np.random.default_rng(0).normal(0, 5, (1000, 8)).astype(np.float32)
    other = rows.copy()
    other[3, 2] += 1
    assert difference(other, rows) == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("way", frechets.WAYS)
def test_every_way_finds_the_closed_form(way: str):
    """torch-fidelity and scipy lose digits where the rank is not full: the root of what rounding leaves."""
    full, few = frechets.cases(64)
    assert full.exact > 0.1
    assert np.linalg.matrix_rank(few.first[1]) == 31
    assert frechets.WAYS[way](full) == pytest.approx(full.exact, abs=1e-9)
    assert frechets.WAYS[way](few) == pytest.approx(few.exact, abs=1e-9 if way == frechets.OURS else 1e-4)


def test_bars_come_from_the_counterparts():
    def network(seconds: float, apart: float | None) -> Network:
        return Network(Timing((seconds,)), 32, apart)

    theirs = [network(3.0, None), network(2.8, None)]
    found = dict(
        zip([*COUNTERPARTS, *COUNTERPARTS.values()], [network(2.0, 1e-5), network(2.0, 1e-3), *theirs], strict=True)
    )
    assert faster(found, OURS_TF1)["median"] == pytest.approx(1.5)
    assert found[OURS_PYTORCH].images_per_second("best") == 16
    rows = [Distance("full", way, Timing((5.0,)), 1e-9) for way in frechets.WAYS]
    assert [bar.met for bar in limits(found, rows)] == [True, False, True, False, False, True]


def test_the_command_measures_networks_that_agree(tmp_path):
    arguments = ["--device", "cpu", "--images", "2", "--rounds", "1", "--dim", "32", "--out", str(tmp_path)]
    result = CliRunner().invoke(features.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.glob("*.json")
    found = json.loads(file.read_text())
    assert set(found["networks"]) == {*COUNTERPARTS, *COUNTERPARTS.values()}
    assert all(0 < found["networks"][name]["difference"] < 1e-4 for name in COUNTERPARTS)
    assert len(found["distances"]) == 6
    assert all(each["error"] < 1e-3 for each in found["distances"])
