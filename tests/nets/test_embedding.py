"""The sinusoid against its closed form, evaluated in float64 by another route."""

import math

import pytest
import torch

from ddpm.nets.embedding import TimeEmbedding, sinusoid


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
