"""Straight and round ways between two images."""

import math
from typing import get_args, get_type_hints

import pytest
import torch

from ddpm import randomness
from ddpm.diffusion.mixing import MIXES, spherical
from ddpm.figures import coarse_to_fine, interpolation


def two(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    index = torch.arange(count)
    return randomness.normal(0, "left", 0, index, (3, 32, 32)), randomness.normal(0, "right", 0, index, (3, 32, 32))


@pytest.mark.parametrize("name", MIXES)
def test_weights_0_and_1_give_the_ends(name):
    x, y = two()
    torch.testing.assert_close(MIXES[name](x, y, 0.0), x)
    torch.testing.assert_close(MIXES[name](x, y, 1.0), y)


def test_a_straight_mix_of_independent_noise_shrinks_and_a_round_one_does_not():
    x, y = two(1)
    assert MIXES["linear"](x, y, 0.5).std().item() == pytest.approx(math.sqrt(0.5), abs=0.02)
    assert MIXES["spherical"](x, y, 0.5).std().item() == pytest.approx(1, abs=0.02)


def test_a_great_circle_is_walked_at_even_speed():
    x, y = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2), torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 2)
    third = spherical(x, y, 1 / 3).flatten()
    torch.testing.assert_close(third, torch.tensor([math.sin(math.pi / 3), 2 * math.sin(math.pi / 6)]))


def test_each_pair_has_its_own_angle():
    x, y = two()
    torch.testing.assert_close(spherical(x, y, 0.3)[2:3], spherical(x[2:3], y[2:3], 0.3))


def test_parallel_images_are_mixed_on_a_line():
    x, _ = two()
    torch.testing.assert_close(spherical(x, x, 0.5), x)
    torch.testing.assert_close(spherical(x, 3 * x, 0.5), 2 * x)


@pytest.mark.parametrize("figure", [interpolation, coarse_to_fine])
def test_figures_offer_all_of_them(figure):
    assert get_args(get_type_hints(figure.Options)["path"]) == tuple(MIXES)
