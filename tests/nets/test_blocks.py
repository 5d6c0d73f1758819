"""The parts against formulas written out with other operations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpm.nets.blocks import Attention, Downsample, ResBlock, Upsample, group_norm
from ddpm.nets.dropout import KeyedDropout

CHANNELS = 64


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, CHANNELS, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def normalized(x: Tensor) -> Tensor:
    groups = x.reshape(len(x), 32, -1)
    scaled = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-6).sqrt()
    return scaled.reshape(x.shape)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_a_weighted_mean_over_pixels(x, heads):
    attention = Attention(CHANNELS, heads).double()
    tokens = normalized(x).flatten(2)  # (b, c, n)

    def maps(linear: torch.nn.Linear) -> Tensor:  # a 1x1 convolution, then heads as slices of the channels
        y = F.conv2d(tokens[..., None], linear.weight[:, :, None, None], linear.bias)[..., 0]
        return y.reshape(2, heads, CHANNELS // heads, -1)

    q, k, v = (maps(linear) for linear in (attention.query, attention.key, attention.value))
    weights = torch.einsum("bhci,bhcj->bhij", q, k).mul((CHANNELS // heads) ** -0.5).softmax(3)
    mixed = torch.einsum("bhij,bhcj->bhci", weights, v).reshape(2, CHANNELS, 4, 6)
    projected = torch.einsum("dc,bcyx->bdyx", attention.projection.weight, mixed)
    expected = x + projected + attention.projection.bias[:, None, None]
    torch.testing.assert_close(attention(x), expected)


def test_attention_refuses_heads_that_do_not_fit():
    with pytest.raises(ValueError, match=r"heads must divide the 64 channels, got 5; 1 always does"):
        Attention(CHANNELS, 5)


@pytest.mark.parametrize("channels", [CHANNELS, 32])
def test_res_block_adds_embedding_and_input(x, channels):
    block = ResBlock(CHANNELS, channels, 8, KeyedDropout(0.5, 0)).double()
    embedding = torch.randn(2, 8, dtype=torch.float64)

    def swish(y: Tensor) -> Tensor:
        return y / (1 + (-y).exp())

    h = F.conv2d(swish(normalized(x)), block.conv_1.weight, block.conv_1.bias, padding=1)
    h = h + (embedding @ block.time_projection.weight.T + block.time_projection.bias)[..., None, None]
    h = F.conv2d(swish(normalized(h)), block.conv_2.weight, block.conv_2.bias, padding=1)
    torch.testing.assert_close(block(x, embedding, None), block.shortcut(x) + h)
    assert (block.shortcut(x) is x) == (channels == CHANNELS)


def test_downsample_pads_on_the_right_and_below():
    down = Downsample(1)
    with torch.no_grad():
        down.conv.weight.copy_(torch.zeros(1, 1, 3, 3))
        down.conv.weight[0, 0, 0, 0] = 1  # the first tap sees the even pixels only if nothing is padded before them
        down.conv.bias.zero_()
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(down(x), x[:, :, ::2, ::2])


def test_upsample_repeats_pixels():
    up = Upsample(1)
    with torch.no_grad():
        up.conv.weight.copy_(F.pad(torch.ones(1, 1, 1, 1), (1, 1, 1, 1)))
        up.conv.bias.zero_()
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert torch.equal(up(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_norm_statistics_are_float32_under_bfloat16_autocast(memory_format):
    # A mean of 100 times the deviation: statistics in bfloat16 would be off by more than one deviation.
    x = 100 + torch.randn(2, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(4))
    x = x.bfloat16().to(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        y = group_norm(CHANNELS)(x)
    torch.testing.assert_close(y.double(), normalized(x.double().contiguous()), rtol=2**-8, atol=1e-3)
