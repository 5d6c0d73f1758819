"""Presets: complete, as large as published, and within reach of `python -m ddpm recipe --net`."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ddpm.cli.recipe import recipe
from ddpm.engine.build import build_net
from ddpm.experiment.params import ModelParams
from ddpm.experiment.params_file import load, read
from ddpm.nets.attention import Attention, linear_attention
from ddpm.nets.cost import count_macs, count_parameters
from ddpm.nets.presets import HO, PRESETS
from ddpm.nets.unet import UNet

RECIPES = Path(__file__).parents[2] / "pipeline" / "recipes"
SIZES = {  # image size, channels, parameters, GMAC an image
    "ho-cifar10": (32, 3, 35_746_307, 6.22),
    "ddim-celeba64": (64, 3, 78_700_803, 24.05),
    "ho-256": (256, 3, 113_673_219, 248.5),
    "adm-64": (64, 3, 295_131_267, 109.7),
    "kimrass-32": (32, 3, 35_746_307, 6.22),
    "kimrass-64": (64, 3, 35_746_307, 26.9),
    "brenningmeyer-32": (32, 3, 35_743_491, 6.22),
    "binh-32": (32, 3, 25_636_483, 2.36),
    "binh-64": (64, 3, 74_051_331, 26.25),
    "binh-128": (128, 3, 111_029_507, 104.0),
    "binh-256": (256, 3, 149_326_083, 411.8),
    "aiiplab-28": (28, 1, 24_515_585, 4.34),
    "lucidrains-64": (64, 3, 65_071_043, 12.46),
}


def build(name: str, *overrides: str, **changes) -> UNet:
    params = load(RECIPES / "celeba64.yaml", overrides)
    size, channels = SIZES[name][:2]
    data = params.data.model_copy(update={"image_size": size, "channels": channels})
    with torch.device("meta"):
        return build_net(data, ModelParams(**PRESETS[name] | changes), params.objective)


def test_every_preset_is_counted():
    assert PRESETS.keys() == SIZES.keys()
    assert all(preset.keys() == ModelParams.model_fields.keys() for preset in PRESETS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_these_sizes(name):
    net = build(name)
    assert count_parameters(net) == SIZES[name][2]
    assert count_macs(net) / 1e9 == pytest.approx(SIZES[name][3], rel=0.005)


def test_adm_with_labels_and_learned_variance_is_counted():
    # 295.9 M with labels and learned variance; beyond it, our null label is one row of the embedding.
    learned = ("objective.variance=learned", "objective.vlb_weight=0.001")
    net = build("adm-64", *learned, num_classes=1000)
    assert count_parameters(net) - 4 * 192 == 295_904_454


@pytest.mark.parametrize(
    ("name", "heads"),
    [("ho-256", 1), ("adm-64", 768 // 64), ("binh-64", 4), ("aiiplab-28", 4), ("lucidrains-64", 512 // 32)],
)
def test_heads_are_those_of_the_source(name, heads):
    assert build(name).middle_attention.heads == heads


def test_lucidrains_attends_linearly_but_innermost():
    layers = [
        module.weigh is linear_attention for module in build("lucidrains-64").modules() if isinstance(module, Attention)
    ]
    assert layers == [True] * 6 + [False] * 2 + [False] + [False] * 3 + [True] * 9


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("celeba64", "ddim-celeba64"),
        ("cifar10", "ho-cifar10"),
        ("celeba32", "ho-cifar10"),
        ("celeba64-seed0", "kimrass-64"),
    ],
)
def test_recipes_hold_the_net_that_they_name(name, preset):
    assert read(RECIPES / f"{name}.yaml")["model"] == PRESETS[preset]


@pytest.fixture
def written(tmp_path):
    def run(*arguments: str) -> tuple[str, Path]:
        out = tmp_path / "params.yaml"
        result = CliRunner().invoke(recipe, [*arguments, "--out", str(out)])
        assert result.exit_code == 0, result.output
        return result.output, out

    return run


@pytest.mark.parametrize("net", [name for name, size in SIZES.items() if size[0] == 64])
def test_a_net_replaces_the_section_and_nothing_else(written, net):
    output, out = written("celeba64", "--net", net)
    assert f"recipe celeba64 with the net {net}." in output
    assert load(out).model == ModelParams(**PRESETS[net])
    before, after = (
        text.partition("\nmodel:")[::2] for text in ((RECIPES / "celeba64.yaml").read_text(), out.read_text())
    )
    assert before[0] == after[0]
    assert before[1].partition("\n\n")[2] == after[1].partition("\n\n")[2]
    assert after[1].startswith(f"                      # {net}, see ddpm/nets/presets.py\n")
    assert "e-0" not in after[1].partition("\n\n")[0]


def test_labels_stay_those_of_the_recipe(written):
    _, out = written("quick", "--net", "ho-cifar10")
    assert load(out).model == ModelParams(**HO | {"num_classes": 10})


def test_overrides_come_after_the_net(written):
    shifted = ("model.linear_attention=[16, 8, 4]", "model.attention=[2]", "train.steps=7")
    _, out = written("quick", "--net", "lucidrains-64", *(f"-S{change}" for change in shifted))
    params = load(out)
    assert (params.model.linear_attention, params.model.attention, params.train.steps) == ([16, 8, 4], [2], 7)
    assert params.model.stem == 7


def test_a_net_that_does_not_fit_writes_nothing(tmp_path):
    out = tmp_path / "params.yaml"
    result = CliRunner().invoke(recipe, ["cifar10", "--net", "lucidrains-64", "--out", str(out)])
    assert "model.linear_attention must list resolutions that the image reaches [32, 16, 8, 4], got 64" in str(
        result.exception
    )
    assert not out.exists()


def test_help_names_the_nets():
    text = "".join(CliRunner().invoke(recipe, ["--help"]).output.split())
    assert all(name in text for name in PRESETS)
    assert "recipeceleba64--netho-256" in text
