"""The published configurations: parameters exactly, arithmetic within 1 %; and the parts of the estimate of memory."""

import pytest
import torch

from ddpm.nets.cost import count_macs, count_parameters, count_saved_activations, estimate_train_bytes
from ddpm.nets.unet import UNet

PUBLISHED = {
    "CIFAR-10, 32 pixels": ((3, 32, 128, [1, 2, 2, 2], 2, [16]), 35_746_307, 6.22e9, 328),
    "CelebA, 64 pixels": ((3, 64, 128, [1, 2, 2, 2, 4], 2, [16]), 78_700_803, 24.05e9, 390),
    "CelebA-HQ and LSUN, 256 pixels": ((3, 256, 128, [1, 1, 2, 2, 4, 4], 2, [16]), 113_673_219, 248.5e9, 450),
    "seed system 0, 64 pixels": ((3, 64, 128, [1, 2, 2, 2], 2, [32]), 35_746_307, 26.9e9, 328),
}


@pytest.mark.parametrize(("numbers", "parameters", "macs", "tensors"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_published_configurations(numbers, parameters, macs, tensors):
    with torch.device("meta"):
        net = UNet(*numbers, dropout=0.1)
    assert count_parameters(net) == parameters
    assert count_macs(net) == pytest.approx(macs, rel=0.01)
    assert len(net.state_dict()) == tensors


def tiny(**changes) -> UNet:
    return UNet(1, 8, 32, [1, 2], 1, [4], **changes)


def test_counting_leaves_the_net_alone():
    net = tiny(num_classes=2)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    count_macs(net)
    estimate_train_bytes(net, 2, "float32")
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert all(parameter.grad is None and not parameter.is_meta for parameter in net.parameters())


def test_frozen_parameters_are_not_trained():
    net = tiny()
    trained = count_parameters(net)
    net.conv_in.requires_grad_(False)
    assert count_parameters(net) == trained - 32 * 10


@pytest.mark.parametrize(
    ("precision", "weight_bytes", "value_bytes"), [("float32", 4, 4), ("bf16", 6, 2), ("fp16", 6, 2)]
)
def test_memory_is_the_sum_of_its_parts(precision, weight_bytes, value_bytes):
    net = tiny()
    parameters, activations = count_parameters(net), count_saved_activations(net)
    memory = estimate_train_bytes(net, 16, precision)
    assert memory.weights == weight_bytes * parameters
    assert memory.gradients == memory.ema == 4 * parameters
    assert memory.moments == 8 * parameters
    assert memory.activations == 16 * activations * value_bytes
    assert memory.total == (weight_bytes + 16) * parameters + 16 * activations * value_bytes


def test_saved_activations_are_those_of_a_real_forward_pass():
    net, saved = tiny(), {}

    def note(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net(torch.zeros(1, 1, 8, 8), torch.zeros(1))
    real = sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / 4
    # The kernel of attention, and with it what attention saves, is the device's choice.
    assert count_saved_activations(net) == pytest.approx(real, rel=0.2)


def test_dropout_saves_its_mask():
    assert count_saved_activations(tiny(dropout=0.1)) > count_saved_activations(tiny())


def test_refuses_an_empty_batch():
    with pytest.raises(ValueError, match=r"batch must be at least 1, got 0; 1 image is the smallest step"):
        estimate_train_bytes(tiny(), 0, "float32")
