"""The parts against formulas written out with other operations, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpm.nets.attention import Attention, linear_attention
from ddpm.nets.blocks import Downsample, ResBlock, Upsample, double, halve
from ddpm.nets.dropout import KeyedDropout
from ddpm.nets.options import PLAIN, Options

CHANNELS = 64


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, CHANNELS, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def normalized(x: Tensor, eps: float = 1e-6) -> Tensor:
    groups = x.reshape(len(x), 32, -1)
    scaled = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + eps).sqrt()
    return scaled.reshape(x.shape)


def swish(y: Tensor) -> Tensor:
    return y / (1 + (-y).exp())


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


@pytest.mark.parametrize("heads", [1, 4])
def test_linear_attention_is_the_product_of_two_softmaxes(heads):
    q, k, v = torch.randn(3, 2, heads, 15, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(6)).unbind()
    # The matrix over all pairs of pixels, which the real one never forms.
    features = q.exp() / q.exp().sum(3, keepdim=True)
    pixels = k.exp() / k.exp().sum(2, keepdim=True)
    weights = torch.einsum("bhif,bhjf->bhij", features, pixels)
    torch.testing.assert_close(weights.sum(3), torch.ones(2, heads, 15, dtype=torch.float64))
    torch.testing.assert_close(linear_attention(q, k, v), torch.einsum("bhij,bhjg->bhig", weights, v))


def test_linear_attention_stores_nothing_between_pairs_of_pixels():
    n, saved = 4096, []
    q, k, v = (torch.randn(1, 1, n, 4, requires_grad=True) for _ in range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda t: t):
        linear_attention(q, k, v)
    assert 0 < max(saved) <= 4 * n


def test_attention_weighs_as_it_is_told(x):
    plain, linear = (Attention(CHANNELS, 4, PLAIN, *weigh).double() for weigh in ((), (linear_attention,)))
    linear.load_state_dict(plain.state_dict())
    tokens = normalized(x).flatten(2).transpose(1, 2)
    q, k, v = (
        layer(tokens).reshape(2, 24, 4, 16).transpose(1, 2) for layer in (linear.query, linear.key, linear.value)
    )
    mixed = linear.projection(linear_attention(q, k, v).transpose(1, 2).reshape(2, 24, 64))
    torch.testing.assert_close(linear(x), x + mixed.transpose(1, 2).reshape(x.shape))
    assert (linear(x) - plain(x)).abs().max() > 1e-3


def res_block(options: Options, **changes) -> ResBlock:
    return ResBlock(CHANNELS, CHANNELS, 8, KeyedDropout(0.0, 0), options, **changes).double()


def test_scale_and_shift_follow_the_second_norm(x):
    block = res_block(Options(conditioning="scale-shift"))
    embedding = torch.randn(2, 8, dtype=torch.float64)
    told = embedding @ block.time_projection.weight.T + block.time_projection.bias
    h = F.conv2d(swish(normalized(x)), block.conv_1.weight, block.conv_1.bias, padding=1)
    h = normalized(h) * (1 + told[:, :CHANNELS, None, None]) + told[:, CHANNELS:, None, None]
    torch.testing.assert_close(block(x, embedding, None), x + block.conv_2(swish(h)))


def test_scale_and_shift_of_zero_change_nothing(x):
    told, untold = res_block(Options(conditioning="scale-shift")), res_block(PLAIN)
    for block in (told, untold):
        torch.nn.init.zeros_(block.time_projection.weight)
        torch.nn.init.zeros_(block.time_projection.bias)
    state = {name: weight for name, weight in told.state_dict().items() if "time_projection" not in name}
    untold.load_state_dict(state, strict=False)
    embedding = torch.randn(2, 8, dtype=torch.float64)
    torch.testing.assert_close(told(x, embedding, None), untold(x, embedding, None), rtol=0, atol=1e-14)


def test_rescaled_sums_are_divided_by_the_root_of_two(x):
    def y(options: Options) -> Tensor:
        part = res_block(options)
        generator = torch.Generator().manual_seed(8)
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
        return part(x, torch.ones(2, 8, dtype=torch.float64), None)

    torch.testing.assert_close(y(Options(rescale_residuals=True)) * 2**0.5, y(PLAIN))


def test_a_resampling_block_resamples_both_branches(x):
    for resample, by_hand in (
        (halve, lambda y: y.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))),
        (double, lambda y: y.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ):
        block = res_block(PLAIN, resample=resample)
        embedding = torch.randn(2, 8, dtype=torch.float64)
        told = embedding @ block.time_projection.weight.T + block.time_projection.bias
        h = F.conv2d(by_hand(swish(normalized(x))), block.conv_1.weight, block.conv_1.bias, padding=1)
        h = block.conv_2(swish(normalized(h + told[..., None, None])))
        torch.testing.assert_close(block(x, embedding, None), by_hand(x) + h)


def test_the_eps_of_the_norms_is_the_one_that_is_given():
    x = 1e-3 * torch.randn(2, CHANNELS, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    norm = Options(norm_eps=1e-4).norm(CHANNELS).double()
    torch.testing.assert_close(norm(x), normalized(x, 1e-4))


def numbered(options: Options) -> tuple[Downsample, Tensor]:
    """A downsampling whose output reads the nine pixels of each window as digits, and an image of 4x4 digits."""
    down = Downsample(1, options)
    with torch.no_grad():
        down.conv.weight.copy_(10 ** torch.arange(8, -1, -1.0).reshape(1, 1, 3, 3))
        down.conv.bias.zero_()
    return down.double(), torch.arange(16.0, dtype=torch.float64).remainder(9).add(1).reshape(1, 1, 4, 4)


@pytest.mark.parametrize(
    ("padding", "where", "first", "last"),
    [  # rows of digits: 1234, 5678, 9123, 4567; the windows at the top left and at the bottom right
        ("zeros", "asymmetric", 123_567_912, 230_670_000),
        ("circular", "asymmetric", 123_567_912, 239_674_341),
        ("zeros", "symmetric", 12_056, 678_123_567),
        ("circular", "symmetric", 745_412_856, 678_123_567),
    ],
)
def test_downsampling_sees_these_pixels(padding, where, first, last):
    down, x = numbered(Options(padding=padding, downsample_padding=where))
    assert down(x).shape == (1, 1, 2, 2)
    assert [int(down(x)[0, 0, 0, 0]), int(down(x)[0, 0, 1, 1])] == [first, last]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_norm_statistics_are_float32_under_bfloat16_autocast(memory_format):
    # A mean of 100 times the deviation: statistics in bfloat16 would be off by more than one deviation.
    x = 100 + torch.randn(2, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(4))
    x = x.bfloat16().to(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        y = PLAIN.norm(CHANNELS)(x)
    torch.testing.assert_close(y.double(), normalized(x.double().contiguous()), rtol=2**-8, atol=1e-3)
