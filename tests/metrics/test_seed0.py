"""The network input of KimRass/DDPM: the wrapper of pytorch-fid, given the range it does not expect."""

import pytest
import torch
from pytorch_fid.inception import InceptionV3
from torch import nn

from ddpm.metrics.images import pytorch_input
from ddpm.metrics.seed0 import seed0_input


@pytest.mark.parametrize(("value", "expected"), [(0.0, -3.0), (127.5, -1.0), (255.0, 1.0)])
def test_constant_images(value, expected):
    x = seed0_input(torch.full((1, 3, 8, 6), value))
    assert x.shape == (1, 3, 299, 299)
    torch.testing.assert_close(x, torch.full_like(x, expected), rtol=0, atol=1e-6)


def test_it_is_twice_the_meant_input_minus_one():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    torch.testing.assert_close(seed0_input(x), 2 * pytorch_input(x) - 1, rtol=0, atol=1e-5)


def test_the_wrapper_of_pytorch_fid_makes_the_same_of_that_range():
    wrapper = InceptionV3.__new__(InceptionV3)  # without its download
    nn.Module.__init__(wrapper)
    wrapper.resize_input = wrapper.normalize_input = True
    wrapper.output_blocks, wrapper.last_needed_block, wrapper.blocks = [0], 0, nn.ModuleList([nn.Identity()])
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    torch.testing.assert_close(seed0_input(x), wrapper(x / 127.5 - 1)[0], rtol=0, atol=0)
