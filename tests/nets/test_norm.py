"""Group norm: torch's numbers by another way, where that way is faster, and nowhere else."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm.nets import norm as room
from ddpm.nets.norm import GroupNorm, gradients

LAST, FIRST = torch.channels_last, torch.contiguous_format


def numbers(*shape: int, seed: int = 0, mean: float = 0.5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def layer(groups: int, channels: int, dtype: torch.dtype = torch.float32) -> GroupNorm:
    made = GroupNorm(groups, channels, eps=1e-5).to(dtype)
    with torch.no_grad():
        made.weight.copy_(numbers(channels, seed=1, mean=1.0))
        made.bias.copy_(numbers(channels, seed=2))
    return made


@pytest.fixture
def paths(monkeypatch) -> list[str]:
    """Which way each call of a norm took."""
    taken: list[str] = []
    ours, theirs = room._ChannelsLast.apply, F.group_norm
    monkeypatch.setattr(room._ChannelsLast, "apply", lambda *given: taken.append("ours") or ours(*given))
    monkeypatch.setattr(F, "group_norm", lambda *given: taken.append("torch") or theirs(*given))
    return taken


def by_autograd(x: Tensor, norm: GroupNorm, dy: Tensor) -> list[Tensor]:
    """y and the gradients of x, weight and bias in float64, through sums, products and roots alone."""
    x, weight, bias = (tensor.detach().double().requires_grad_() for tensor in (x, norm.weight, norm.bias))
    groups = x.reshape(len(x), norm.num_groups, -1)
    centered = groups - groups.mean(dim=2, keepdim=True)
    scaled = centered / (centered.square().mean(dim=2, keepdim=True) + norm.eps).sqrt()
    y = scaled.reshape(x.shape) * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)
    return [y.detach(), *torch.autograd.grad(y, (x, weight, bias), dy.double())]


def run(x: Tensor, norm: nn.Module, dy: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = norm(x)
    return [y.detach(), *torch.autograd.grad(y, (x, norm.weight, norm.bias), dy)]


EXACT, SINGLE = (torch.float64, 1e-11), (torch.float32, 2e-5)


@pytest.mark.parametrize(
    ("shape", "precision"),
    [
        ((2, 32, 5, 3), EXACT),  # one channel a group
        ((2, 32, 5, 3), SINGLE),
        ((3, 64, 4, 4), EXACT),
        ((3, 64, 4, 4), SINGLE),
        ((1, 96, 4, 6), EXACT),
        ((1, 128, 4, 6), SINGLE),
        ((2, 64, 1, 1), EXACT),
        ((1, 32, 2, 1), EXACT),
    ],
)
@pytest.mark.parametrize("dy_format", [LAST, FIRST])
def test_result_and_gradients_are_those_of_the_formula(paths, shape, precision, dy_format):
    dtype, error = precision
    x = numbers(*shape).to(dtype).to(memory_format=LAST)
    norm, dy = layer(32, shape[1], dtype), numbers(*shape, seed=3).to(dtype).to(memory_format=dy_format)
    found = run(x, norm, dy)
    assert paths == ["ours"]
    for value, expected in zip(found, by_autograd(x, norm, dy), strict=True):
        assert value.dtype == dtype
        torch.testing.assert_close(value.double(), expected, rtol=error, atol=error)
    assert found[1].is_contiguous(memory_format=LAST)


def test_gradients_agree_with_finite_differences():
    x, weight, bias = numbers(2, 6, 3, 2).to(memory_format=LAST), numbers(6, seed=1), numbers(6, seed=2)

    def ours(*given: Tensor) -> Tensor:
        return room._ChannelsLast.apply(*given, 3, 1e-5)

    assert torch.autograd.gradcheck(ours, tuple(tensor.requires_grad_() for tensor in (x, weight, bias)))


@pytest.mark.parametrize("mean", [0.5, 5.0, 30.0])
def test_bfloat16_loses_no_more_than_torch_does(paths, mean):
    # Where the mean is many times the deviation, coefficients in bfloat16 would lose what is left of it.
    x = numbers(4, 128, 16, 16, mean=mean).bfloat16().to(memory_format=LAST)
    dy = numbers(4, 128, 16, 16, seed=3).bfloat16().to(memory_format=LAST)
    ours = layer(32, 128)
    theirs = nn.GroupNorm(32, 128, eps=1e-5)
    theirs.load_state_dict(ours.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        found, torchs = run(x, ours, dy), run(x, theirs, dy)
    assert paths == ["ours", "torch"]
    assert found[0].dtype == found[1].dtype == torch.bfloat16
    assert found[2].dtype == found[3].dtype == torch.float32
    assert torch.equal(found[0], torchs[0])
    for value, other, exact in zip(found, torchs, by_autograd(x, ours, dy), strict=True):
        error, others = ((each.double() - exact).norm() / exact.norm() for each in (value, other))
        assert error < 1.05 * others + 1e-6


def test_statistics_are_float32_under_bfloat16_autocast():
    x = numbers(2, 64, 4, 4).bfloat16().to(memory_format=LAST).requires_grad_()
    saved: list[Tensor] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda t: t)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        layer(32, 64)(x)
    statistics = [tensor for tensor in saved if tensor.shape == (2, 32)]
    assert [tensor.dtype for tensor in statistics] == [torch.float32] * 2
    groups = x.detach().double().reshape(2, 32, -1)
    torch.testing.assert_close(statistics[0].double(), groups.mean(dim=2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "dtype", "memory_format", "path"),
    [
        pytest.param(64, torch.float32, LAST, "ours", id="2 x 4 bytes"),
        pytest.param(128, torch.float32, LAST, "ours", id="4 x 4 bytes"),
        pytest.param(256, torch.float32, LAST, "torch", id="8 x 4 bytes fill a vector"),
        pytest.param(256, torch.bfloat16, LAST, "ours", id="8 x 2 bytes"),
        pytest.param(512, torch.bfloat16, LAST, "torch", id="16 x 2 bytes fill a vector"),
        pytest.param(64, torch.float32, FIRST, "torch", id="contiguous"),
    ],
)
def test_the_way_is_ours_only_where_it_is_faster(paths, channels, dtype, memory_format, path):
    x = numbers(1, channels, 4, 4).to(dtype).to(memory_format=memory_format)
    y = layer(32, channels, dtype)(x)
    assert paths == [path]
    assert y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_it_is_torchs(paths, context):
    x = numbers(2, 64, 4, 4).float().to(memory_format=LAST)
    norm = layer(32, 64)
    with context():
        silent = norm(x)
    assert paths == ["torch"]
    assert torch.equal(silent, norm(x).detach())
    assert paths == ["torch", "ours"]


def test_it_works_without_data_too(paths):
    x = torch.empty(2, 64, 4, 4, device="meta").to(memory_format=LAST).requires_grad_()
    y = layer(32, 64).to("meta")(x)
    y.sum().backward()
    assert x.grad.shape == y.shape == x.shape
    assert paths == ["torch"]


def test_a_frozen_norm_passes_the_gradient_on():
    x = numbers(2, 64, 4, 4).float().to(memory_format=LAST).requires_grad_()
    norm, dy = layer(32, 64).requires_grad_(False), numbers(2, 64, 4, 4, seed=3).float()
    norm(x).backward(dy)
    torch.testing.assert_close(x.grad.double(), by_autograd(x, norm, dy)[1], rtol=1e-5, atol=1e-5)
    assert norm.weight.grad is None


def test_a_second_derivative_is_refused():
    x = numbers(2, 64, 4, 4).float().to(memory_format=LAST).requires_grad_()
    (once,) = torch.autograd.grad(layer(32, 64)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def test_the_parameters_are_those_of_torch():
    assert layer(32, 64).state_dict().keys() == nn.GroupNorm(32, 64).state_dict().keys()


def test_the_weight_of_another_precision_keeps_it():
    x, dy = (numbers(2, 64, 2, 2, seed=seed).bfloat16().to(memory_format=LAST) for seed in (0, 3))
    mean, rstd = (numbers(2, 32, seed=seed).abs().float() for seed in (4, 5))
    dx, d_weight, d_bias = gradients(dy, x, mean, rstd, torch.ones(64))
    assert [tensor.dtype for tensor in (dx, d_weight, d_bias)] == [torch.bfloat16, torch.float32, torch.float32]
