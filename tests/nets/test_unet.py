"""Properties of the whole net, on weights that leave no branch near zero."""

import pytest
import torch

from ddpm.nets.dropout import KeyedDropout
from ddpm.nets.unet import UNet

KEYS = torch.tensor([11, 22, 33, 44])
LABELS = torch.tensor([0, 1, 2, 3])  # of three classes: 3 is the null label


def test_output_has_the_shape_of_the_image(net, batch):
    y = net(*batch)
    assert y.shape == batch[0].shape
    assert y.dtype == torch.float32
    assert y.isfinite().all()


@pytest.mark.parametrize("keys", [None, KEYS])
def test_an_image_does_not_depend_on_its_batch(net, batch, keys):
    x, t = batch
    whole = net(x, t, None, keys)
    for b in range(4):
        alone = net(x[b : b + 1], t[b : b + 1], None, None if keys is None else keys[b : b + 1])
        torch.testing.assert_close(whole[b : b + 1], alone, rtol=1e-4, atol=1e-5)


def test_time_and_image_both_matter(net, batch):
    x, t = batch
    assert (net(x, t) - net(x, t + 1)).abs().amax((1, 2, 3)).min() > 1e-3
    assert (net(x, t) - net(x.flip(3), t)).abs().amax((1, 2, 3)).min() > 1e-2


def test_gradients_reach_every_parameter(labeled_net, batch):
    labeled_net.zero_grad()
    labeled_net(*batch, LABELS).square().mean().backward()
    for name, parameter in labeled_net.named_parameters():
        if not name.endswith("key.bias"):  # softmax does not see what is added to every score of a row
            assert parameter.grad.abs().sum() > 1e-4, name


def test_a_level_of_width_32_cannot_see_the_time(net, labeled_net, batch):
    # With one channel a group the norm removes what the embedding adds; a consequence of 32 groups, and no bug.
    x, t = batch
    for each, seen in ((net, False), (labeled_net, True)):
        block = each.down[0].blocks[0]
        h = each.conv_in(x)
        change = block(h, each.time_embedding(t), None) - block(h, each.time_embedding(t + 9), None)
        assert (change.abs().max() > 1e-2) == seen


def test_without_keys_the_net_is_deterministic(net, batch):
    assert torch.equal(net.train()(*batch), net.eval()(*batch))


def test_keys_switch_dropout_on_sample_by_sample(net, batch):
    first = net(*batch, None, KEYS)
    assert (first - net(*batch)).abs().amax((1, 2, 3)).min() > 1e-2
    assert torch.equal(first, net(*batch, None, KEYS))
    changed = net(*batch, None, torch.tensor([11, 22, 99, 44]))
    assert (first - changed).abs().amax((1, 2, 3)).gt(1e-2).tolist() == [False, False, True, False]


def test_the_keys_reach_every_dropout(net, batch):
    seen = []
    dropouts = [module for module in net.modules() if isinstance(module, KeyedDropout)]
    hooks = [module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1])) for module in dropouts]
    net(*batch, None, KEYS)
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(dropouts)
    assert all(keys is KEYS for keys in seen)


def test_every_dropout_has_a_number_of_its_own(net):
    indices = [module.layer_index for module in net.modules() if isinstance(module, KeyedDropout)]
    assert sorted(indices) == list(range(2 * 1 + 2 + 2 * 2))


def test_labels_matter(labeled_net, batch):
    conditional = labeled_net(*batch, LABELS)
    unconditional = labeled_net(*batch, torch.full((4,), 3))
    assert (conditional - unconditional).abs().amax((1, 2, 3)).gt(1e-3).tolist() == [True, True, True, False]


def test_the_null_label_is_the_last_row(labeled_net, batch):
    assert labeled_net.label_embedding.weight.shape == (4, 4 * 64)
    with pytest.raises(IndexError):
        labeled_net(*batch, LABELS + 1)


def test_a_double_precision_net_agrees(net, batch):
    x, t = batch
    double = UNet(3, 16, 32, [1, 2], 1, [16, 8], heads=2).double()
    double.load_state_dict(net.state_dict())
    y = double(x.double(), t)
    assert y.dtype == torch.float64
    torch.testing.assert_close(net(x, t).double(), y, rtol=1e-3, atol=1e-4)


def test_channels_last_agrees(net, batch):
    x, t = batch
    last = UNet(3, 16, 32, [1, 2], 1, [16, 8], heads=2, dropout=0.5)
    last.load_state_dict(net.state_dict())
    last = last.to(memory_format=torch.channels_last)
    y = last(x.to(memory_format=torch.channels_last), t, None, KEYS)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, net(x, t, None, KEYS), rtol=1e-3, atol=1e-4)


def test_bfloat16_autocast_stays_close(net, batch):
    with torch.autocast("cpu", torch.bfloat16):
        y = net(*batch)
    exact = net(*batch)
    assert (y - exact).square().mean().sqrt() < 0.03 * exact.std()


def test_the_names_in_the_state_dict_are_stable():
    # Weights on disk and foreign checkpoints hang on these names: a change here is a change of the format.
    with torch.device("meta"):
        net = UNet(1, 8, 32, [1, 2], 1, [4], num_classes=1)
    same, wider = ["norm_1", "conv_1", "time_projection", "norm_2", "conv_2"], ["shortcut"]
    attention = ["norm", "query", "key", "value", "projection"]
    modules = {
        "conv_in": [""],
        "time_embedding": ["linear_1", "linear_2"],
        "label_embedding": [""],
        "down.0.blocks.0": same,
        "down.0.downsample": ["conv"],
        "down.1.blocks.0": same + wider,
        "down.1.attentions.0": attention,
        "middle_block_1": same,
        "middle_attention": attention,
        "middle_block_2": same,
        "up.0.blocks.0": same + wider,
        "up.0.blocks.1": same + wider,
        "up.0.attentions.0": attention,
        "up.0.attentions.1": attention,
        "up.0.upsample": ["conv"],
        "up.1.blocks.0": same + wider,
        "up.1.blocks.1": same + wider,
        "norm_out": [""],
        "conv_out": [""],
    }
    expected = {f"{module}.{part}".rstrip(".") for module, parts in modules.items() for part in parts}
    names = net.state_dict().keys()
    assert {name.removesuffix(".weight") for name in names if name.endswith(".weight")} == expected
    biased = {name.removesuffix(".bias") for name in names if name.endswith(".bias")}
    assert biased == expected - {"label_embedding"}
    assert len(names) == len(expected) + len(biased)


@pytest.mark.parametrize(
    ("labeled", "labels", "message"),
    [
        (True, None, "this one has 3 and got none; 3 is the null label"),
        (False, LABELS, "this one has 0 and got labels; pass none"),
    ],
)
def test_refuses_missing_and_superfluous_labels(net, labeled_net, batch, labeled, labels, message):
    with pytest.raises(ValueError, match=rf"UNet: labels go with classes, {message}"):
        (labeled_net if labeled else net)(*batch, labels)


@pytest.mark.parametrize("shape", [(4, 1, 16, 16), (4, 3, 32, 32), (4, 3, 16, 8)])
def test_refuses_images_of_another_shape(net, shape):
    with pytest.raises(ValueError, match=r"UNet: x_t must be \(batch, 3, 16, 16\), got \(4, .*\); resize or rebuild"):
        net(torch.zeros(shape), torch.zeros(4))
