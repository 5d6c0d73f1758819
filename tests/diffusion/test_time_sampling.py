"""Which t is trained: distributions, pairs, unbiased importance, and a history that is exact."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ddpm.diffusion.time_sampling import KEPT, LossHistory, antithetic, uniform

CPU = torch.device("cpu")
T = 20


def filled(sizes, noise=0.0):
    """A history that has seen ten losses of each t, about `sizes`."""
    history = LossHistory.empty(len(sizes), CPU)
    generator = torch.Generator().manual_seed(0)
    for _ in range(KEPT):
        losses = torch.tensor(sizes) * (1 + noise * torch.randn(len(sizes), generator=generator))
        history.update(torch.arange(1, len(sizes) + 1), losses)
    return history


def test_uniform_times_are_1_to_T_equally_often():
    counts = uniform(0, 1, torch.arange(20_000), T).bincount(minlength=T + 1)
    assert counts[0] == 0
    assert (counts[1:] - 1000).abs().max() < 120  # four standard deviations are 123


def test_continuous_times_fill_1_to_T():
    t = uniform(0, 1, torch.arange(20_000), T, continuous=True)
    assert t.dtype == torch.float64
    assert (float(t.min()), float(t.max())) == pytest.approx((1, T), abs=0.01)
    assert float(t.mean()) == pytest.approx((1 + T) / 2, abs=0.15)
    assert len(t.unique()) > 19_000


@pytest.mark.parametrize("continuous", [False, True])
def test_pairs_mirror_each_other_even_across_two_steps(continuous):
    first, second = (
        antithetic(0, step, torch.arange(7 * step, 7 * step + 7), T, continuous) for step in (0, 1)
    )  # batches of 7: sample 6 and its partner 7 are in different steps
    t = torch.cat([first, second])
    torch.testing.assert_close(t[0::2] + t[1::2], torch.full((7,), T + 1, dtype=t.dtype))
    assert len(t.unique()) > 5


def test_antithetic_times_are_uniform():
    counts = antithetic(0, 1, torch.arange(20_000), T).bincount(minlength=T + 1)
    assert counts[0] == 0
    assert (counts[1:] - 1000).abs().max() < 180  # pairs: twice the variance


def test_importance_is_uniform_until_every_t_has_ten_losses():
    history = filled([float(t) for t in range(1, T + 1)])
    early = LossHistory(history.losses, history.counts - (torch.arange(T) == 3).long())
    assert len(early.units().unique()) == 1
    assert len(history.units().unique()) == T
    assert torch.equal(early.draw(0, 1, torch.arange(8))[1], torch.ones(8))


def test_importance_follows_the_root_mean_square_loss():
    history = LossHistory.empty(3, CPU)
    for k in range(KEPT):
        history.update(torch.arange(1, 4), torch.tensor([1.0, 2.0, 6.0 if k % 2 else 2.0]))
    root_mean_square = torch.tensor([1.0, 2.0, 20**0.5], dtype=torch.float64)
    expected = 0.999 * root_mean_square / root_mean_square.sum() + 0.001 / 3
    torch.testing.assert_close(history.units().double() / 2**30, expected, rtol=1e-6, atol=0)
    t, _ = history.draw(0, 1, torch.arange(100_000))
    torch.testing.assert_close(t.bincount(minlength=4)[1:] / 100_000, expected.float(), rtol=0, atol=0.006)


def test_weighted_losses_estimate_what_uniform_times_would():
    sizes = [10.0, 1.0, 0.0, 0.1, 4.0]
    t, weight = filled(sizes, noise=0.3).draw(0, 1, torch.arange(400_000))
    assert float((torch.tensor(sizes)[t - 1] * weight).mean()) == pytest.approx(sum(sizes) / 5, rel=0.005)


def test_a_t_without_loss_is_still_drawn_sometimes():
    t, weight = filled([0.0, 1.0]).draw(0, 1, torch.arange(100_000))
    assert 20 < int((t == 1).sum()) < 90  # 0.05 % of 100,000
    assert float(weight[t == 1][0]) == pytest.approx(1000, rel=1e-3)


def test_all_losses_zero_is_uniform():
    assert len(filled([0.0] * T).units().unique()) == 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(1, 60))
def test_the_history_holds_the_last_ten_of_each_t_however_batches_cut_them(times, batch):
    history, t, losses = LossHistory.empty(4, CPU), torch.tensor(times), torch.arange(len(times)) + 1.0
    for part in zip(t.split(batch), losses.split(batch), strict=True):
        history.update(*part)
    for row in range(4):
        seen = losses[t == row + 1]
        assert int(history.counts[row]) == len(seen)
        kept = history.losses[row]
        assert sorted(kept[kept > 0].tolist()) == seen[-KEPT:].tolist()


def test_a_draw_is_a_function_of_history_step_and_sample():
    history = filled([3.0, 1.0, 2.0])
    both = history.draw(0, 5, torch.arange(10))[0]
    halves = [history.draw(0, 5, index)[0] for index in torch.arange(10).split(5)]
    assert torch.equal(both, torch.cat(halves))


def test_the_largest_chain_fits_into_64_bits():
    history = LossHistory(torch.rand(100_000, KEPT), torch.full((100_000,), KEPT))
    t, weight = history.draw(0, 1, torch.arange(50_000))
    assert int(t.min()) >= 1
    assert int(t.max()) <= 100_000
    assert float(t.double().mean()) == pytest.approx(50_000, rel=0.02)
    assert (weight > 0).all()


class WrittenCells(TorchDispatchMode):
    """Notes where the history writes its losses."""

    def __init__(self):
        super().__init__()
        self.slots = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.index_put.default and not (args[3:] and args[3]):
            self.slots.append(args[1][0])
        return func(*args, **(kwargs or {}))


def test_every_cell_of_the_history_is_written_once():
    """A GPU has no order of writes: two losses in one cell would make the history a matter of chance."""
    history = LossHistory.empty(3, CPU)
    with WrittenCells() as written:
        history.update(torch.tensor([2] * 25 + [1] * 3), torch.arange(28.0))
    (slots,) = written.slots
    kept = slots[slots < 3 * KEPT]
    assert len(kept) == len(kept.unique()) == KEPT + 3
