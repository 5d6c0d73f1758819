"""Averages of the weights: their closed forms, parity with other libraries, and a net that gets its own back."""

import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ddpm.engine.averages import Averages, power_gamma


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    net.register_buffer("frequencies", torch.ones(2))
    return net


@pytest.fixture
def walk(net):
    """Moves the weights as training would, and tells where they are."""

    def step() -> list[torch.Tensor]:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn_like(parameter)
        return [parameter.detach().clone() for parameter in net.parameters()]

    return step


def test_names_come_in_the_order_given(net):
    averages = Averages(net, [0.9999, 0.5], [0.05])
    assert averages.names == ("decay-0.9999", "decay-0.5", "width-0.05") == tuple(averages.weights)
    assert [len(weights) for weights in averages.weights.values()] == [4, 4, 4]


def test_decays_are_those_of_diffusers(net, walk):
    """Its first update only copies, so it is one ahead."""
    averages = Averages(net, [0.9, 0.3], [])
    theirs = [EMAModel(net.parameters(), decay=decay) for decay in (0.9, 0.3)]
    for ema in theirs:
        ema.step(net.parameters())
    for step in range(1, 101):  # the ramp reaches 0.9 at step 80
        walk()
        averages.update(step)
        for ema in theirs:
            ema.step(net.parameters())
    for name, ema in zip(averages.names, theirs, strict=True):
        torch.testing.assert_close(averages.weights[name], list(ema.shadow_params))


def test_a_decay_below_the_ramp_is_that_of_torch(net, walk):
    averages = Averages(net, [0.15], [])
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.15))
    theirs.update_parameters(net)  # the first one copies
    for step in range(1, 20):
        walk()
        averages.update(step)
        theirs.update_parameters(net)
    torch.testing.assert_close(averages.weights["decay-0.15"], list(theirs.module.parameters()))


def test_step_1_of_a_width_is_the_net(net, walk):
    averages = Averages(net, [0.9], [0.05, 0.2])
    own = walk()
    averages.update(1)
    for name in ("width-0.05", "width-0.2"):
        assert all(map(torch.equal, averages.weights[name], own))
    assert not torch.equal(averages.weights["decay-0.9"][0], own[0])


@pytest.mark.parametrize("width", [0.05, 0.1, 0.25])
def test_a_width_weighs_step_j_by_the_integral_of_its_profile(net, walk, width):
    """Integral of (gamma + 1) t^gamma / n^(gamma + 1) over (j - 1, j)."""
    averages, history = Averages(net, [], [width]), []
    for step in range(1, 41):
        history.append(walk())
        averages.update(step)
    ends = (np.arange(41) / 40) ** (power_gamma(width) + 1)
    for k, found in enumerate(averages.weights[f"width-{width}"]):
        expected = sum(share * weights[k].double() for share, weights in zip(np.diff(ends), history, strict=True))
        torch.testing.assert_close(found, expected.float())


@given(st.floats(0.001, 0.2799))
def test_gamma_gives_the_width(width):
    """The variance of the profile on [0, 1] is a textbook one: that of the Beta distribution (gamma + 1, 1)."""
    alpha = power_gamma(width) + 1
    assert alpha > 1  # rising: later steps count more
    assert (alpha / ((alpha + 1) ** 2 * (alpha + 2))) ** 0.5 == pytest.approx(width, rel=1e-9)


def test_updates_move_no_memory_and_keep_no_graph(net, walk):
    averages = Averages(net, [0.9], [0.1])
    places = [weight.data_ptr() for weights in averages.weights.values() for weight in weights]
    for step in (1, 2, 3):
        walk()
        averages.update(step)
    weights = [weight for weights in averages.weights.values() for weight in weights]
    assert places == [weight.data_ptr() for weight in weights]
    assert not any(weight.requires_grad for weight in weights)


def test_in_place_lends_an_average_to_the_same_storage(net, walk):
    averages = Averages(net, [0.9], [0.1])
    own = walk()
    places = [parameter.data_ptr() for parameter in net.parameters()]
    for name in averages.names:
        with averages.in_place(name):
            assert all(map(torch.equal, net.parameters(), averages.weights[name]))
            assert not torch.equal(net[0].weight, own[0])
            assert torch.is_grad_enabled()
        assert all(map(torch.equal, net.parameters(), own))
    assert places == [parameter.data_ptr() for parameter in net.parameters()]
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_in_place_gives_back_after_an_error_even_what_is_no_number(net):
    averages = Averages(net, [0.9], [])
    with torch.no_grad():
        net[0].weight[0] = torch.tensor([float("nan"), -0.0, 1e-42])
    bits = net[0].weight.detach().view(torch.int32).clone()
    with pytest.raises(RuntimeError, match="inside"), averages.in_place("decay-0.9"):
        raise RuntimeError("inside")
    assert torch.equal(net[0].weight.detach().view(torch.int32), bits)
    with pytest.raises(KeyError), averages.in_place("decay-0.8"):
        pass


def test_state_goes_on_where_it_was(net, walk):
    first, second = Averages(net, [0.9], [0.1]), None
    for step in range(1, 11):
        walk()
        first.update(step)
        if step == 5:
            state = copy.deepcopy(first.state())
            second = Averages(copy.deepcopy(net), [0.9], [0.1])
            second.load(state)
            second.net = net
        elif second is not None:
            second.update(step)
    for name in first.names:
        assert all(map(torch.equal, first.weights[name], second.weights[name]))
    assert first.state().keys() == set(first.names)


def test_another_state_is_refused_and_nothing_copied(net, walk):
    averages = Averages(net, [0.9], [0.1])
    before = copy.deepcopy(averages.state())
    walk()
    other = Averages(net, [0.9], [0.1]).state()
    with pytest.raises(ValueError, match=r"the state must hold decay-0.9, width-0.1, got decay-0.9; go on with"):
        averages.load({"decay-0.9": other["decay-0.9"]})
    wrong = {**other, "width-0.1": [other["width-0.1"][0].T, *other["width-0.1"][1:]]}
    message = r"width-0.1 of the state must have the shapes of the net, \(4, 3\), .*got \(3, 4\), .*\(4 tensors\)"
    with pytest.raises(ValueError, match=message):
        averages.load(wrong)
    for name in averages.names:
        assert all(map(torch.equal, averages.weights[name], before[name]))


@pytest.mark.parametrize(
    ("decays", "widths", "message"),
    [
        ([1.0], [], r"decay of an average must be in \[0, 1\), got 1.0; 0.999"),
        ([-0.1], [], r"decay of an average must be in \[0, 1\), got -0.1"),
        ([], [0.0], r"width of an average must be in \(0, 0.28\), got 0.0; 0.05"),
        ([], [0.28], r"width of an average must be in \(0, 0.28\), got 0.28"),
        ([], [float("nan")], r"width of an average must be in \(0, 0.28\), got nan"),
        ([0.9, 0.9], [], r"averages must differ, got decays \[0.9, 0.9\] and widths \[\]; drop"),
        ([], [0.1, 0.1], r"averages must differ, got decays \[\] and widths \[0.1, 0.1\]"),
    ],
)
def test_averages_that_make_no_sense_are_refused(net, decays, widths, message):
    with pytest.raises(ValueError, match=message):
        Averages(net, decays, widths)


@pytest.fixture
def group():
    """A process group of this process alone: parameters of a sharded net are DTensors there too."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_sharded_net_is_averaged_and_evaluated_like_a_whole_one(net, walk, group):
    """A forward pass without gradients leaves gathered copies behind: the swap must not be fooled by them."""
    sharded, x = copy.deepcopy(net), torch.randn(5, 3)
    for layer in sharded:
        fully_shard(layer, reshard_after_forward=False)
    fully_shard(sharded)
    ours, theirs = Averages(sharded, [0.5], [0.1]), Averages(net, [0.5], [0.1])
    for step in range(1, 4):
        for parameter, moved in zip(sharded.parameters(), walk(), strict=True):
            parameter.to_local().data.copy_(moved)
        ours.update(step)
        theirs.update(step)
        for name in ours.names:
            with ours.in_place(name), theirs.in_place(name), torch.no_grad():
                assert torch.equal(sharded(x), net(x))
            assert torch.equal(sharded(x), net(x))
            sharded(x).sum().backward()  # as training does; gathers, and drops what it gathered
            sharded.zero_grad()
    for name in ours.names:
        assert all(map(torch.equal, ours.weights[name], theirs.weights[name]))
