"""Keyed dropout: the right distribution, and a mask that depends on key, layer and element alone."""

import pytest
import torch
from scipy import stats

from ddpm.nets.dropout import KeyedDropout, mix

SHAPE = (8, 4, 32, 32)
KEYS = torch.randint(0, 2**32, (SHAPE[0],), generator=torch.Generator().manual_seed(5))


def mask(keys: torch.Tensor = KEYS, layer: int = 0, p: float = 0.3, shape: tuple[int, ...] = SHAPE[1:]) -> torch.Tensor:
    return KeyedDropout(p, layer)(torch.ones(len(keys), *shape), keys) != 0


def test_the_words_are_those_of_the_definition():
    def mix(word: int) -> int:
        for multiplier, shift in ((0x7FEB352D, 16), (0x846CA68B, 15)):
            word = ((word ^ (word >> shift)) * multiplier) % 2**32
        return word ^ (word >> 16)

    keep = mask(layer=3, shape=(5, 7))
    for b, key in enumerate(KEYS.tolist()):
        address = mix((mix(key) + 3 * 0x9E3779B9) % 2**32)
        expected = [mix(mix(e) ^ address) >= round(0.3 * 2**32) for e in range(35)]
        assert keep[b].flatten().tolist() == expected


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_kept_counts_are_binomial_for_every_sample_and_layer(p):
    counts = torch.stack([mask(p=p, layer=layer).flatten(1).sum(1) for layer in range(20)]).double()
    n = mask()[0].numel()
    z = (counts - n * (1 - p)) / (n * p * (1 - p)) ** 0.5  # 160 masks
    assert z.abs().max() < 4
    # Their spread is tested on both sides: masks that are too even are as wrong as masks that are too uneven.
    assert 1e-3 < stats.chi2.cdf(float((z**2).sum()), df=z.numel()) < 1 - 1e-3


def test_kept_elements_keep_the_mean():
    x = torch.full((64, 4096), 3.0)
    y = KeyedDropout(0.3, 0)(x, torch.arange(64))
    assert set(y.unique().tolist()) == {0.0, float(x[0, 0] / (1 - 0.3))}
    assert abs(y.mean() - 3) < 4 * 3 * (0.3 / 0.7 / y.numel()) ** 0.5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(mask()[..., 1:], mask()[..., :-1], id="neighbor columns"),
        pytest.param(mask()[..., 1:, :], mask()[..., :-1, :], id="neighbor rows"),
        pytest.param(mask()[:, 1:], mask()[:, :-1], id="neighbor channels"),
        pytest.param(mask()[1:], mask()[:-1], id="samples"),
        pytest.param(mask(layer=0), mask(layer=1), id="layers"),
        pytest.param(mask(layer=1), mask(layer=2), id="later layers"),
        pytest.param(mask(torch.arange(8)), mask(torch.arange(1, 9)), id="consecutive keys"),
        pytest.param(mask(KEYS), mask(KEYS ^ (1 << 31)), id="keys that differ in the top bit"),
    ],
)
def test_masks_are_independent(first, second):
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    assert stats.chi2_contingency(table, correction=False).pvalue > 1e-3


def test_near_addresses_do_not_permute_one_mask():
    # Were the element not hashed first, addresses that differ by d < 4096 would share one mask, permuted by e -> e ^ d.
    address = mix(mix(torch.arange(4096))).sort()
    pairs = (address.values[1:] ^ address.values[:-1] < 4096).nonzero()[:, 0]
    first, second = address.indices[pairs], address.indices[pairs + 1]
    assert len(pairs) > 3
    permuted = torch.arange(4096) ^ (address.values[pairs] ^ address.values[pairs + 1])[:, None]
    a, b = mask(first, p=0.5, shape=(4096,)), mask(second, p=0.5, shape=(4096,)).gather(1, permuted)
    assert (a == b).double().mean(1).sub(0.5).abs().max() < 5 * 0.5 / 64


def test_the_batch_around_a_sample_does_not_matter():
    whole = mask()
    assert torch.equal(mask(KEYS[5:6])[0], whole[5])
    assert torch.equal(mask(KEYS.flip(0)), whole.flip(0))


def test_the_memory_format_does_not_matter():
    x = torch.randn(SHAPE)
    dropout = KeyedDropout(0.3, 0)
    y = dropout(x.to(memory_format=torch.channels_last), KEYS)
    assert torch.equal(y, dropout(x, KEYS))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_only_the_low_32_bits_of_a_key_count():
    assert torch.equal(mask(KEYS + (1 << 40)), mask(KEYS))


def test_without_keys_or_probability_nothing_happens():
    x = torch.randn(SHAPE)
    assert KeyedDropout(0.3, 0).train()(x, None) is x
    assert KeyedDropout(0.0, 0).train()(x, KEYS) is x


def test_evaluation_mode_does_not_overrule_keys():
    assert not mask().all()
    assert torch.equal(KeyedDropout(0.3, 0).eval()(torch.ones(SHAPE), KEYS) != 0, mask())


def test_the_gradient_passes_where_the_mask_does():
    x = torch.randn(SHAPE, requires_grad=True)
    KeyedDropout(0.3, 0)(x, KEYS).sum().backward()
    torch.testing.assert_close(x.grad, mask() / 0.7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_precision_stays(dtype):
    assert KeyedDropout(0.3, 0)(torch.ones(SHAPE, dtype=dtype), KEYS).dtype == dtype


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"KeyedDropout: p must be in \[0, 1\), got .*; 0 switches dropout off"):
        KeyedDropout(p, 0)
