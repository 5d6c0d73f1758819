"""Keyed dropout: the right distribution, and a mask that depends on key, layer and element alone."""

import math

import pytest
import torch
from scipy import stats

from ddpm.nets.dropout import KeyedDropout, cached_elements, mix

SHAPE = (8, 4, 32, 32)
KEYS = torch.randint(0, 2**32, (SHAPE[0],), generator=torch.Generator().manual_seed(5))


def mask(keys: torch.Tensor = KEYS, layer: int = 0, p: float = 0.3, shape: tuple[int, ...] = SHAPE[1:]) -> torch.Tensor:
    return KeyedDropout(p, layer)(torch.ones(len(keys), *shape), keys) != 0


def test_the_words_are_those_of_the_definition():
    def mix(word: int) -> int:
        for multiplier, shift in ((0x7FEB352D, 16), (0x846CA68B, 15)):
            word = ((word ^ (word >> shift)) * multiplier) % 2**32
        return word ^ (word >> 16)

    keep = mask(layer=3, shape=(5, 7, 11))
    for b, key in enumerate(KEYS.tolist()):
        address = mix((mix(key) + 3 * 0x9E3779B9) % 2**32)
        draws = [(mix(e) * (address | 1) + mix(address ^ 0x85EBCA6B)) % 2**32 for e in range(5 * 7 * 11)]
        signed = [draw - 2**32 * (draw >= 2**31) for draw in draws]
        assert keep[b].flatten().tolist() == [draw >= round(0.3 * 2**32) - 2**31 for draw in signed]


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


def independent(counts: torch.Tensor, p: float) -> float:
    """p-value of a table of 2 x ... x 2 counts (kept or not, per mask), if all are kept with 1 - p independently."""
    share = torch.tensor([p, 1 - p], dtype=torch.float64)
    shares = share
    for _ in range(counts.dim() - 1):
        shares = shares[..., None] * share
    expected = shares * counts.sum()
    return float(stats.chi2.sf(float(((counts - expected) ** 2 / expected).sum()), df=counts.numel() - 1))


def table(*masks: torch.Tensor) -> torch.Tensor:
    """How often which combination of kept and not occurs."""
    code = sum((each.flatten().long() << k for k, each in enumerate(masks)), torch.tensor(0))
    return code.bincount(minlength=2 ** len(masks)).double().reshape((2,) * len(masks))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_pairs_of_keys_are_as_independent_as_coins(p):
    # A mask is an arithmetic progression of one hash; were factors of different keys in a simple ratio, masks would be
    # alike. Over all pairs of 256 consecutive keys, agreement must spread as that of coins does.
    keep = mask(torch.arange(256), p=p, shape=(8192,)).double()
    n = keep.shape[1]
    centered = (keep - (1 - p)) / (p * (1 - p)) ** 0.5
    z = (centered @ centered.T / n**0.5)[tuple(torch.triu_indices(256, 256, 1))]  # 32,640 pairs
    assert z.abs().max() < 5.2
    assert abs(float(z.mean())) < 5 / len(z) ** 0.5
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / len(z)) ** 0.5


@pytest.mark.parametrize("bit", range(32))
def test_keys_that_differ_in_one_bit_share_nothing(bit):
    first, second = mask(KEYS, p=0.5), mask(KEYS ^ (1 << bit), p=0.5)
    assert independent(table(first, second), 0.5) > 1e-4


def test_triples_of_samples_and_of_layers_are_independent():
    keys = torch.randint(0, 2**32, (192,), generator=torch.Generator().manual_seed(6))
    keep = mask(keys, p=0.3, shape=(8192,))
    found = [independent(table(*keep[i : i + 3]), 0.3) for i in range(0, 192, 3)]
    found += [
        independent(table(*(mask(KEYS, layer, shape=(2, 32, 32)) for layer in range(i, i + 3))), 0.3) for i in range(8)
    ]
    assert stats.kstest(found[:64], "uniform").pvalue > 1e-3
    assert min(found) > 1e-5


def test_triples_of_elements_are_independent_over_the_keys():
    # The hash is linear in the element's word: of all triples only those with h_1 + h_3 = 2 h_2 may be dependent.
    keep = mask(torch.arange(4096), p=0.5, shape=(2, 8, 8))
    choose = torch.Generator().manual_seed(7)
    near = [(i, i + 1, i + 2) for i in range(62)]
    rows = [(i, i + 8, i + 16) for i in range(48)]
    far = [tuple(torch.randperm(128, generator=choose)[:3].tolist()) for _ in range(90)]
    flat = keep.flatten(1)
    found = [independent(table(*(flat[:, e] for e in triple)), 0.5) for triple in near + rows + far]
    assert min(found) > 1e-5
    assert stats.kstest(found, "uniform").pvalue > 1e-4


def test_pairs_of_elements_are_independent_over_the_keys():
    flat = mask(torch.arange(8192) * 977, p=0.5, shape=(256,)).double() * 2 - 1
    z = (flat.T @ flat / len(flat) ** 0.5)[tuple(torch.triu_indices(256, 256, 1))]
    assert z.abs().max() < 5.2
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / len(z)) ** 0.5


def test_elements_whose_words_are_equally_spaced_are_rare():
    # h_1 + h_3 = 2 h_2: such triples are dependent in every mask, since their draws are equally spaced, too.
    n = 4096
    words = mix(torch.arange(n))
    sums = (words[:, None] + words[None, :])[tuple(torch.triu_indices(n, n, 1))] % 2**32
    assert torch.isin(sums, 2 * words % 2**32).sum() < 2e-8 * math.comb(n, 3)


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


def test_a_first_pass_without_gradients_leaves_nothing_behind():
    cached_elements.cache_clear()
    dropout, x = KeyedDropout(0.3, 0), torch.randn(SHAPE)
    with torch.inference_mode():
        silent = dropout(x, KEYS)
    leaf = x.clone().requires_grad_()
    dropout(leaf, KEYS).sum().backward()
    assert torch.equal(dropout(leaf, KEYS), silent)
    assert torch.equal(leaf.grad != 0, mask())


def test_a_probability_next_to_one_drops_nearly_everything():
    assert mask(p=1 - 2**-40).sum() < 3


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
