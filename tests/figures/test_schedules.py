import numpy as np
import pytest

from ddpm.diffusion.schedule import linear, zero_terminal_snr
from ddpm.drawing.schedules import LEAST_GAP, Curve, overlaid, spread
from ddpm.figures import schedules
from ddpm.figures.schedules import Options, named


def test_a_name_gives_the_schedule_and_its_version_without_signal_at_the_end():
    options = Options(steps=50, rescale=True)
    right = linear(50, 0.002, 0.4)
    assert np.array_equal(named("linear", options).alpha_bar, right.alpha_bar)
    assert np.array_equal(named("linear-zero", options).alpha_bar, zero_terminal_snr(right).alpha_bar)
    assert named("linear-zero", options).alpha_bar[-1] == 0


def test_every_kind_can_be_drawn_and_the_order_matters(material):
    one = schedules.draw(material(), Options("linear, cosine-zero"))
    other = schedules.draw(material(), Options("cosine-zero,linear"))
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("linear,exponential"), r"--kinds must be some of linear, .* with or without -zero, got exponential"),
        (Options("linear", beta_1=0.03), "0 < beta_1 < beta_T < 1, got 0.03 and 0.02"),
        (Options("linear", steps=10, rescale=True), "got 0.01 and 2"),
        (Options(" , "), "must be 1 to 8 curves, got 0"),
        (Options(",".join(["linear"] * 9)), "must be 1 to 8 curves, got 9"),
    ],
)
def test_refusals(material, options, message):
    with pytest.raises(ValueError, match=message):
        schedules.draw(material(), options)


def test_names_keep_their_distance_their_order_and_the_panel():
    wanted = np.array([0.0, 1.0, 0.99, 0.5, 0.0, 1.0])
    placed = spread(wanted)
    assert np.diff(np.sort(placed)).min() > LEAST_GAP - 1e-9
    assert np.array_equal(np.argsort(placed), np.argsort(wanted, kind="stable"))
    assert placed.min() >= 0
    assert placed.max() <= 1
    assert spread(np.array([0.3, 0.6])) == pytest.approx([0.3, 0.6])


def test_log_snr_is_infinite_where_there_is_no_noise_or_no_signal():
    curve = Curve("x", np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0]))
    assert curve.log_snr.tolist() == [np.inf, 0.0, -np.inf]
    overlaid([curve])
