"""Every option, alone and together with all others: it acts, it trains, and it keeps what holds for the plain net."""

import copy
from typing import get_args

import pytest
import torch

from ddpm.experiment.params import ModelParams
from ddpm.nets.cost import count_macs, count_saved_activations
from ddpm.nets.dropout import KeyedDropout
from ddpm.nets.options import PLAIN, Options
from ddpm.nets.rules import CHOICES
from ddpm.nets.unet import UNet

SIZE = 8
KEYS = torch.tensor([11, 22])
EACH = {
    "linear attention": Options(linear_attention=[SIZE]),
    "linear attention innermost": Options(linear_attention=[SIZE // 2]),
    "wide heads": Options(head_channels=32),
    "scale and shift": Options(conditioning="scale-shift"),
    "residual resampling": Options(resample="residual"),
    "rescaled sums": Options(rescale_residuals=True),
    "attention without norm": Options(attention_norm=False),
    "norm after the stem": Options(stem_norm=True),
    "frequencies of Vaswani": Options(time_features="vaswani"),
    "random frequencies": Options(time_features="fourier"),
    "learned frequencies": Options(time_features="learned-fourier"),
    "wide stem": Options(stem=7),
    "torus": Options(padding="circular"),
    "symmetric downsampling": Options(downsample_padding="symmetric"),
    "symmetric torus": Options(downsample_padding="symmetric", padding="circular"),
    "larger eps": Options(norm_eps=0.1),
    "all at once": Options(
        linear_attention=[SIZE],
        head_channels=32,
        conditioning="scale-shift",
        resample="residual",
        rescale_residuals=True,
        attention_norm=False,
        stem_norm=True,
        time_features="learned-fourier",
        stem=7,
        padding="circular",
        downsample_padding="symmetric",
        norm_eps=1e-5,
    ),
}
COSTLY = {"linear attention", "linear attention innermost", "scale and shift", "residual resampling", "wide stem"}
COSTLY |= {"all at once"}


def build(options: Options, **changes) -> UNet:
    attention = [] if SIZE // 2 in options.linear_attention else [SIZE // 2]
    return UNet(3, SIZE, 64, [1, 2], 1, attention, options=options, **changes)


@pytest.fixture(scope="module", params=EACH.values(), ids=EACH.keys())
def varied(request, randomize) -> UNet:
    return randomize(build(request.param, dropout=0.5))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 900])


def test_every_option_changes_the_output(varied, batch, randomize):
    plain = randomize(build(PLAIN))
    assert (varied(*batch) - plain(*batch)).abs().max() > 1e-2


def trained(name: str) -> bool:
    return not name.endswith("key.bias")  # softmax does not see what is added to every score


def test_gradients_reach_every_parameter_and_no_buffer(varied, batch):
    varied.zero_grad()
    varied(*batch).square().mean().backward()
    for name, parameter in varied.named_parameters():
        assert not trained(name) or parameter.grad.abs().sum() > 1e-4, name
    assert not any(buffer.requires_grad for buffer in varied.buffers())


@pytest.mark.parametrize("options", EACH.values(), ids=EACH.keys())
def test_training_leaves_the_initial_weights_everywhere(options, batch):
    # The last layers start near zero and hide the rest: the first step moves them, the second one all others.
    net = build(options)
    before = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        (net(*batch) - batch[0]).square().mean().backward()
        optimizer.step()
    buffers = dict(net.named_buffers())
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, before[name]) == (name in buffers) or not trained(name), name


def test_an_image_does_not_depend_on_its_batch(varied, batch):
    x, t = batch
    whole = varied(x, t, None, KEYS)
    for b in range(2):
        alone = varied(x[b : b + 1], t[b : b + 1], None, KEYS[b : b + 1])
        torch.testing.assert_close(whole[b : b + 1], alone, rtol=1e-4, atol=2e-5)


def test_channels_last_agrees(varied, batch):
    x, t = batch
    last = copy.deepcopy(varied).to(memory_format=torch.channels_last)
    y = last(x.to(memory_format=torch.channels_last), t, None, KEYS)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, varied(x, t, None, KEYS), rtol=1e-3, atol=2e-4)


def test_keys_switch_dropout_on_in_every_block(varied, batch):
    seen = []
    dropouts = [module for module in varied.modules() if isinstance(module, KeyedDropout)]
    assert sorted(module.layer_index for module in dropouts) == list(range(len(dropouts)))
    hooks = [module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1])) for module in dropouts]
    dropped = varied(*batch, None, KEYS)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(dropouts)
    assert all(keys is KEYS for keys in seen)
    assert (dropped - varied(*batch)).abs().amax((1, 2, 3)).min() > 1e-2


def test_bfloat16_autocast_stays_close(varied, batch):
    with torch.autocast("cpu", torch.bfloat16):
        y = varied(*batch)
    exact = varied(*batch)
    assert (y - exact).square().mean().sqrt() < 0.05 * exact.std()


def test_weights_fit_a_net_from_the_meta_device(varied, batch):
    options = varied.middle_block_1.options
    with torch.device("meta"):
        empty = build(options, dropout=0.5)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert empty.state_dict().keys() == varied.state_dict().keys()
    empty.load_state_dict(varied.state_dict(), assign=True)
    assert torch.equal(empty(*batch), varied(*batch))


@pytest.mark.parametrize(("name", "options"), EACH.items(), ids=EACH.keys())
def test_the_cost_is_counted(name, options):
    net, plain = build(options), build(PLAIN)
    assert (count_macs(net) != count_macs(plain)) == (name in COSTLY)
    assert count_saved_activations(net) > 0
    assert not any(tensor.is_meta for tensor in net.state_dict().values())


def test_choices_are_those_of_the_parameters():
    for name, choices in CHOICES.items():
        assert choices == get_args(ModelParams.model_fields[name].annotation), name


def test_scale_and_shift_show_the_time_to_a_level_of_width_32(batch, randomize):
    # One channel a group: the norm removes what is added before it, but not what follows it.
    for options, seen in ((PLAIN, False), (Options(conditioning="scale-shift"), True)):
        net = randomize(UNet(3, SIZE, 32, [1], 1, [], options=options))
        block, h = net.down[0].blocks[0], net.conv_in(batch[0])
        change = block(h, net.time_embedding(batch[1]), None) - block(h, net.time_embedding(batch[1] + 9), None)
        assert (change.abs().max() > 1e-2) == seen


def test_residual_steps_keep_the_names_of_the_steps():
    with torch.device("meta"):
        net = build(Options(resample="residual"))
    layers = ("norm_1", "conv_1", "time_projection", "norm_2", "conv_2")
    parts = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert net.down[0].downsample.state_dict().keys() == net.up[0].upsample.state_dict().keys() == parts
