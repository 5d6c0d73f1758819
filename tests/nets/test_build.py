"""The section `model` becomes a net, and both places where numbers are refused refuse the same ones."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from ddpm.engine.build import build_net
from ddpm.experiment.params import ModelParams
from ddpm.experiment.params_file import load, read
from ddpm.experiment.rules import problems
from ddpm.nets.blocks import ResBlock
from ddpm.nets.unet import UNet

QUICK = Path(__file__).parents[2] / "pipeline" / "recipes" / "quick.yaml"
EVERYTHING = {
    "channels": 64,
    "multipliers": [1, 2],
    "blocks": 1,
    "attention": [16],
    "linear_attention": [8],
    "heads": 3,
    "head_channels": 32,
    "dropout": 0.25,
    "num_classes": 10,
    "conditioning": "scale-shift",
    "resample": "residual",
    "rescale_residuals": True,
    "attention_norm": False,
    "stem_norm": True,
    "time_features": "fourier",
    "stem": 7,
    "padding": "circular",
    "downsample_padding": "symmetric",
    "norm_eps": 1e-4,
}


def build(model: dict, *overrides: str) -> UNet:
    params = load(QUICK, overrides)
    with torch.device("meta"):
        return build_net(params.data, ModelParams(**model), params.objective)


def test_every_parameter_reaches_the_net():
    net = build(EVERYTHING)
    options = net.middle_block_1.options
    shared = vars(options).keys() & EVERYTHING.keys()
    assert shared == vars(options).keys()
    assert {name: getattr(options, name) for name in shared} == {name: EVERYTHING[name] for name in shared}
    assert EVERYTHING.keys() == ModelParams.model_fields.keys()
    assert [net.down[0].attentions[0].heads, net.middle_attention.heads] == [2, 4]
    assert net.down[0].blocks[0].dropout.p == 0.25
    assert net.label_embedding.weight.shape == (11, 256)
    assert isinstance(net.down[0].downsample, ResBlock)
    assert net.conv_in.kernel_size == (7, 7)
    assert net.conv_in.padding_mode == net.conv_out.padding_mode == "circular"
    assert {norm.eps for norm in net.modules() if isinstance(norm, torch.nn.GroupNorm)} == {1e-4}


def test_objective_sets_the_channels_at_both_ends():
    both = build(
        EVERYTHING, "objective.self_condition=true", "objective.variance=learned", "objective.vlb_weight=0.001"
    )
    assert [both.conv_in.in_channels, both.conv_out.out_channels] == [2, 2]


CHANGES = [
    {},
    {"channels": 16, "multipliers": [2, 4]},
    {"channels": 48},
    {"multipliers": [1, 0]},
    {"multipliers": [1, 2, 2, 2, 2, 2], "attention": [], "linear_attention": []},
    {"multipliers": [1] * 5},
    {"attention": [5]},
    {"linear_attention": [4]},
    {"linear_attention": [16]},
    {"attention": [], "linear_attention": [16, 8]},
    {"head_channels": 48},
    {"head_channels": 128, "attention": []},
    {"head_channels": 128, "attention": [], "linear_attention": []},
    {"head_channels": 0, "heads": 3},
    {"head_channels": 0, "heads": 6, "multipliers": [1, 3], "attention": [], "linear_attention": []},
    {"head_channels": 0, "heads": 6, "multipliers": [1, 3]},
]


@pytest.mark.parametrize(("size", "width"), [(16, 0), (18, 0), (8, 0), (16, 24), (16, 17), (8, 16), (16, 2)])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_rules_of_the_file_and_of_the_net_agree(changes, size, width):
    params = load(QUICK)
    data = params.data.model_copy(update={"image_size": size, "image_width": width})
    model = ModelParams(**EVERYTHING | changes)
    refused = [line for line in problems({"data": data, "model": model}) if "for digits" not in line]
    with torch.device("meta"), pytest.raises(ValueError, match=r"^UNet: ") if refused else nullcontext():
        build_net(data, model, params.objective)


def test_the_recipes_give_every_parameter():
    for path in QUICK.parent.glob("*.yaml"):
        assert read(path)["model"].keys() == ModelParams.model_fields.keys(), path
