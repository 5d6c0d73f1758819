"""Every recipe is validated and dry-run: its net is built on the meta device and counted."""

from pathlib import Path

import pytest
import torch

from ddpm.engine.build import build_net, build_schedule
from ddpm.engine.recipes import FLOP_PER_STEP, RATE_TFLOPS, cost, describe
from ddpm.experiment.params_file import load

RECIPES = Path(__file__).parents[2] / "pipeline" / "recipes"
PUBLISHED = {  # parameters and GMAC per image of the networks that the recipes name
    "celeba64": (78_700_803, 24.05),
    "celeba32": (35_746_307, 6.22),
    "celeba64-seed0": (35_746_307, 26.9),
    "cifar10": (35_746_307, 6.22),
    "folder64": (78_700_803, 24.05),
}


def test_there_is_nothing_unpublished_but_quick():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {*PUBLISHED, "quick"}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_networks_have_the_published_size(name):
    found = cost(load(RECIPES / f"{name}.yaml"))
    assert found.parameters == PUBLISHED[name][0]
    assert found.gmac_per_image == pytest.approx(PUBLISHED[name][1], rel=0.005)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_build(path):
    params = load(path)
    with torch.device("meta"):
        net = build_net(params.data, params.model, params.objective)
    height, width, channels = params.data.shape
    x_t, t = torch.empty(2, channels, height, width, device="meta"), torch.empty(2, device="meta")
    labels = torch.zeros(2, dtype=torch.long, device="meta") if params.model.num_classes else None
    assert net(x_t, t, labels).shape == x_t.shape
    assert build_schedule(params.schedule, torch.device("cpu")).T == params.schedule.T
    assert describe(path).startswith(f"{path.stem}: ")


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_group_has_a_comment(path):
    text = path.read_text()
    groups = text.split("\n\n")[1:]
    assert len(groups) == 9
    assert all("#" in group.splitlines()[0] for group in groups)


def test_hours_follow_from_the_file():
    params = load(RECIPES / "celeba64.yaml")
    expected = FLOP_PER_STEP * 24.05e9 * 128 * 500_000 / (RATE_TFLOPS * 1e12) / 3600
    assert cost(params).train_hours == pytest.approx(expected, rel=0.01)
