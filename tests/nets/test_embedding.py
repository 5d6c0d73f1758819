"""The sinusoid against its closed form, evaluated in float64 by another route."""

import math
from typing import get_args

import pytest
import torch

from ddpm.nets.embedding import TimeEmbedding, fourier, sinusoid, vaswani
from ddpm.nets.init import init_weights
from ddpm.nets.options import TimeFeatures


@pytest.mark.parametrize("width", [32, 128])
@pytest.mark.parametrize("t", [0, 1, 999])
def test_sinusoid_is_the_closed_form(t, width):
    half = width // 2
    angles = [t * 10_000 ** (-i / (half - 1)) for i in range(half)]
    expected = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    # float32 angles near 999 are good to 6e-5
    torch.testing.assert_close(sinusoid(torch.tensor([t]), width)[0].tolist(), expected, rtol=0, atol=1e-4)


def test_time_zero_is_no_sine_and_full_cosine():
    assert sinusoid(torch.tensor([0]), 6).tolist() == [[0, 0, 0, 1, 1, 1]]


def test_the_kind_of_number_does_not_matter():
    for dtype in (torch.int32, torch.float32, torch.float64):
        assert torch.equal(sinusoid(torch.tensor([7], dtype=dtype), 32), sinusoid(torch.tensor([7]), 32))


def test_every_step_has_an_embedding_of_its_own():
    waves = sinusoid(torch.arange(1000), 32)
    distance = torch.cdist(waves.double(), waves.double()) + 10 * torch.eye(1000)
    assert distance.min() > 0.1


def test_the_embedding_follows_the_precision_of_the_net():
    embed = TimeEmbedding(32, 128).double()
    assert embed(torch.tensor([1, 2])).dtype == torch.float64
    assert embed(torch.tensor([1, 2])).shape == (2, 128)


@pytest.mark.parametrize("t", [0, 1, 499.5])
def test_vaswani_is_the_closed_form(t):
    angles = [t / 10_000 ** (2 * i / 64) for i in range(32)]  # section 3.5 of the paper, with d_model 64
    expected = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    torch.testing.assert_close(vaswani(torch.tensor([t]), 64)[0].tolist(), expected, rtol=0, atol=1e-4)


def test_fourier_counts_a_thousand_steps_as_one():
    frequencies = torch.tensor([0.0, 1.0, -2.5])
    expected = [0.0, math.sin(0.6 * math.pi), math.sin(-1.5 * math.pi), 1.0, math.cos(0.6 * math.pi), 0.0]
    torch.testing.assert_close(fourier(torch.tensor([300]), frequencies)[0].tolist(), expected, rtol=0, atol=1e-5)


def embedding(features: str, seed: int = 0) -> TimeEmbedding:
    embed = TimeEmbedding(256, 1024, features)
    init_weights(embed, seed)
    return embed


@pytest.mark.parametrize("features", get_args(TimeFeatures))
def test_time_may_be_fractional(features):
    embed = embedding(features)
    at = [embed(torch.tensor([t]))[0] for t in (400, 400.0, 400.001, 400.5, 401)]
    assert torch.equal(at[0], at[1])
    changes = [float((later - at[0]).abs().max().detach()) for later in at[2:]]
    assert 0 < changes[0] < 0.01 * changes[1]
    assert changes[1] < changes[2]


@pytest.mark.parametrize("features", ["fourier", "learned-fourier"])
def test_random_frequencies_are_those_of_the_seed(features):
    first, again, other = (embedding(features, seed).frequencies for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(float(first.mean().detach())) < 4 * 16 / 128**0.5
    assert abs(float(first.std().detach()) / 16 - 1) < 4 / 256**0.5


def test_fixed_and_learned_frequencies_start_alike():
    fixed, learned = embedding("fourier"), embedding("learned-fourier")
    assert (
        fixed.state_dict().keys() == learned.state_dict().keys() == {*embedding("sinusoid").state_dict(), "frequencies"}
    )
    assert torch.equal(fixed.frequencies, learned.frequencies)
    assert [name for name, _ in fixed.named_buffers()] == ["frequencies"]
    assert dict(learned.named_parameters())["frequencies"].requires_grad
    assert not list(learned.buffers())


def test_random_frequencies_follow_the_precision_of_the_net():
    embed = embedding("fourier").double()
    assert embed(torch.tensor([1, 2])).dtype == torch.float64
