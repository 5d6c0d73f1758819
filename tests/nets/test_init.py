"""The initial weights: their distribution, and what they may depend on."""

import math

import pytest
import torch

from ddpm.nets.init import init_weights
from ddpm.nets.unet import UNet


def tiny(**changes) -> UNet:
    return UNet(**{"in_channels": 3, "image_size": 8, "channels": 32, "multipliers": [1, 2], "blocks": 1} | changes)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return tiny(attention=[8], num_classes=10).state_dict()


ZERO = {"conv_2", "projection", "conv_out"}


def test_weights_fill_their_xavier_interval(state):
    matrices = {name: weight for name, weight in state.items() if weight.ndim > 1}
    assert len(matrices) > 30
    for name, weight in matrices.items():
        window = math.prod(weight.shape[2:])
        scale = 1e-10 if name.split(".")[-2] in ZERO else 1
        bound = scale * math.sqrt(6 / (window * (weight.shape[0] + weight.shape[1])))
        assert weight.abs().max() <= bound
        assert weight.abs().max() > 0.98 * bound, name
        assert weight.mean().abs() < 5 * bound / math.sqrt(3 * weight.numel())
        assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 5 / math.sqrt(weight.numel()), name


def test_the_last_layer_of_every_branch_is_near_zero(state):
    small = {name for name, weight in state.items() if weight.ndim > 1 and weight.abs().max() < 1e-9}
    expected = {name for name in state if name.endswith(("conv_2.weight", "projection.weight", "conv_out.weight"))}
    assert small == expected - {name for name in expected if "time_projection" in name}


def test_biases_are_zero_and_gains_one(state):
    for name, vector in state.items():
        if vector.ndim == 1:
            assert (vector == (0 if name.endswith("bias") else 1)).all(), name


def test_output_is_near_zero_at_the_start():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert tiny(attention=[8])(x, torch.tensor([0, 999])).abs().max() < 1e-8


def test_a_seed_determines_every_weight():
    first, second, other = tiny(attention=[]), tiny(attention=[]), tiny(attention=[])
    init_weights(first, seed=7)
    torch.rand(5)  # the global generator plays no part
    init_weights(second, seed=7)
    init_weights(other, seed=8)
    for (name, a), b, c in zip(first.named_parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert a.ndim == 1 or not torch.equal(a, c), name


def test_a_weight_does_not_depend_on_the_other_layers(state):
    plain = tiny(attention=[]).state_dict()
    assert plain.keys() < state.keys()
    assert all(torch.equal(weight, state[name]) for name, weight in plain.items())


def test_weights_of_one_shape_differ(state):
    assert not torch.equal(state["middle_block_1.conv_1.weight"], state["middle_block_2.conv_1.weight"])


def test_a_net_from_the_meta_device_can_be_filled():
    with torch.device("meta"):
        net = tiny(attention=[8])
    assert all(parameter.is_meta for parameter in net.parameters())
    net = net.to_empty(device="cpu")
    init_weights(net, seed=0)
    for a, b in zip(net.parameters(), tiny(attention=[8]).parameters(), strict=True):
        assert torch.equal(a, b)
