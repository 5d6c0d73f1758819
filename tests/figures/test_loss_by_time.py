"""The loss by time: nets whose error is known, the same noise for both splits, bins that cover every step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddpm import randomness
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.diffusion.sde import vp
from ddpm.drawing.loss_by_time import Measured, loss_by_time, mean_and_half, ratio_and_half
from ddpm.engine import loss_by_time as engine
from ddpm.engine.loss_by_time import Bin, drawn_times, is_plain, losses_in_bins, time_bins
from ddpm.figures import loss_by_time as figure
from ddpm.figures.loss_by_time import Options

CPU = torch.device("cpu")


def measured(given, split=None, numbers=range(6), bins=4):
    found = time_bins(given.schedule, bins)
    return losses_in_bins(given.checkpoint, split or given.train, np.array(numbers), found, 0, CPU)


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_bins_hold_every_step_once(count):
    bins = time_bins(SCHEDULES["linear"](20, 1e-4, 0.02), count)
    assert [t for low, high in bins for t in range(int(low), int(high) + 1)] == list(range(1, 21))


def test_times_lie_in_their_bin():
    chain = SCHEDULES["linear"](20, 1e-4, 0.02)
    index = torch.arange(200)
    assert set(drawn_times(chain, Bin(6, 10), 0, 1, index).tolist()) == {6, 7, 8, 9, 10}
    low, high = time_bins(vp(chain), 4)[1]
    drawn = drawn_times(vp(chain), Bin(low, high), 0, 1, index)
    assert (low, high) == (5.75, 10.5)
    assert low <= drawn.min() < low + 0.2
    assert high - 0.2 < drawn.max() <= high


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
def test_a_net_that_says_nothing_errs_by_what_it_leaves_out(material, monkeypatch, target):
    """eps_hat is 0 for eps; for x0_hat = 0 it is x_t / b, and for v_hat = 0 it is b x_t."""
    given = material(f"objective.target={target}")
    monkeypatch.setattr(engine, "build_predict", lambda *_: lambda x_t, t, labels, keys: torch.zeros_like(x_t))
    losses = measured(given)
    x0, _ = given.images(given.train, range(6))
    for k, (bin, (found, _)) in enumerate(zip(time_bins(given.schedule, 4), losses, strict=True)):
        t = drawn_times(given.schedule, bin, 0, k, torch.arange(6))
        eps = randomness.normal(0, "loss by time: noise", k, torch.arange(6), (1, 8, 8))
        a, b = (scale.reshape(-1, 1, 1, 1) for scale in given.schedule.scales(t))
        x_t = a * x0 + b * eps
        eps_hat = {"eps": torch.zeros_like(x_t), "x0": x_t / b, "v": b * x_t}[target]
        np.testing.assert_allclose(found, (eps_hat - eps).square().mean(dim=(1, 2, 3)), rtol=1e-4)


def test_the_error_of_eps_is_the_loss_where_that_is_what_is_minimized(material):
    for one in measured(material()):
        np.testing.assert_array_equal(one.eps, one.objective)
    given = material("objective.weighting=min-snr")
    log_snr = given.schedule.log_snr_at(drawn_times(given.schedule, Bin(1, 5), 0, 0, torch.arange(6)))
    found = measured(given)[0]
    np.testing.assert_allclose(found.objective, found.eps * (5 / log_snr.exp()).clamp(max=1).numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "plain"),
    [
        ((), True),
        (("objective.target=v",), False),
        (("objective.weighting=p2",), False),
        (("objective.variance=learned", "objective.vlb_weight=0.001"), False),
    ],
)
def test_a_second_panel_shows_what_training_minimizes(material, overrides, plain):
    given = material(*overrides)
    assert is_plain(given.checkpoint) == plain
    assert figure.draw(given, Options(bins=2)).height == (832 if plain else 1312) + 32


def test_the_same_image_of_another_split_loses_the_same(material):
    given = material()
    for one, other in zip(measured(given), measured(given, replace(given.train)), strict=True):
        assert (one.eps == other.eps).all()
    assert (measured(given, given.held_out)[0].eps != measured(given)[0].eps).all()


def test_more_images_do_not_change_the_first_ones(material, monkeypatch):
    whole = measured(material(), numbers=range(11))
    monkeypatch.setattr(engine, "BLOCK", 4)
    few, many = measured(material(), numbers=range(3)), measured(material(), numbers=range(11))
    for one, other, all_at_once in zip(few, many, whole, strict=True):
        np.testing.assert_allclose(one.eps, other.eps[:3], rtol=1e-6)
        np.testing.assert_allclose(all_at_once.eps, other.eps, rtol=1e-6)
    assert len(many[0].eps) == 11


def test_labels_are_shown_to_the_net(material):
    given = material()
    labels = (given.train.labels + 1) % 10
    other = measured(given, replace(given.train, labels=labels))
    assert (other[0].eps != measured(given)[0].eps).any()


def test_bands_are_those_of_the_mean():
    losses = np.random.default_rng(0).exponential(size=(2000, 50))
    mean, half = mean_and_half(losses)
    assert np.mean(np.abs(mean - 1) < half) == pytest.approx(0.93, abs=0.03)  # 95 % for many images
    first = np.random.default_rng(1).exponential(size=(2000, 50))
    ratio, half = ratio_and_half(first, losses)
    assert np.mean(np.abs(ratio - 1) < half) == pytest.approx(0.94, abs=0.03)
    assert ratio_and_half(first, 3 * first)[1].max() < 1e-9


def test_one_split_is_drawn_without_a_gap():
    losses = {"training images": np.ones((3, 4)), "held-out images": np.ones((3, 4))}
    both = loss_by_time([Measured("t", "u", losses)], [1, 2, 3], 4)
    del losses["held-out images"]
    assert loss_by_time([Measured("t", "u", losses)], [1, 2, 3], 4).height == both.height - 240


def test_refused(material):
    with pytest.raises(ValueError, match="--bins must be at most T = 20, got 21"):
        figure.draw(material(), Options(bins=21))
    given = material()
    np.save(given.places.data / "train.npy", np.zeros((20, 8, 16, 1), np.uint8))
    with pytest.raises(ValueError, match=r"must hold images of \(8, 8, 1\) like those of the checkpoint"):
        figure.draw(given, Options(bins=2))
