"""Addressed randomness: the published bits, the right distributions, and independence of the batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm import randomness

KNOWN_ANSWERS = [  # counter, key, answer: the test vectors that Salmon et al. publish with Random123 for Philox 4x32-10
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = randomness.philox(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in words) == answer


def test_normal_has_the_moments_of_a_unit_normal():
    draws = randomness.normal(3, "noise", 7, torch.arange(2000), (3, 8, 8)).double()
    n = draws.numel()
    assert abs(draws.mean()) < 4 / n**0.5
    assert abs(draws.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((draws**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert abs((draws[:, 0] * draws[:, 1]).mean()) < 4 / (n / 3) ** 0.5


def test_integers_are_uniform_and_reach_both_ends():
    draws = randomness.integers(0, "time", 1, torch.arange(100_000), 1, 10)
    counts = torch.bincount(draws, minlength=11)
    assert counts[0] == 0
    assert len(counts) == 11
    assert (counts[1:] - 10_000).abs().max() < 5 * 10_000**0.5


@given(st.integers(1, 40), st.integers(1, 33), st.integers(0, 2**40))
def test_a_draw_does_not_depend_on_its_batch(batch, width, first):
    index = torch.arange(first, first + batch)
    together = randomness.normal(1, "noise", 5, index, (width,))
    alone = torch.cat([randomness.normal(1, "noise", 5, one.reshape(1), (width,)) for one in index])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("other", [(1, "noise", 5), (0, "time", 5), (0, "noise", 6)])
def test_seed_purpose_and_step_all_matter(other):
    index = torch.arange(8)
    base = randomness.words(0, "noise", 5, index, 16)
    changed = randomness.words(*other, index, 16)
    assert (base == changed).sum() == 0


def test_large_indices_are_distinct():
    low, high = randomness.words(0, "noise", 0, torch.tensor([1, 1 + 2**32]), 4)
    assert (low == high).sum() == 0


def test_permutation_is_one_and_changes_with_the_epoch():
    first, second = (randomness.permutation(0, "order", epoch, 1000) for epoch in (0, 1))
    assert torch.equal(first.sort().values, torch.arange(1000))
    assert torch.equal(second.sort().values, torch.arange(1000))
    assert not torch.equal(first, second)
