import pytest
import torch

from ddpm.diffusion.mixture import Mixture
from ddpm.diffusion.schedule import linear
from ddpm.engine.transitions import hats, learn_transitions, run_back
from ddpm.figures import normal_map
from ddpm.figures.normal_map import TWO, Options, mapped

SCHEDULE = linear(25, 1e-4 * 40, 0.02 * 40)


def test_learned_steps_of_a_normal_are_the_closed_form():
    """q(x_s | x_t) of N(m, v) data is a normal with a mean linear in x_t and a variance that does not depend on it."""
    m, v, t = 1.5, 0.16, 10
    learned = learn_transitions(SCHEDULE, Mixture((1.0,), (m,), (v**0.5,)), 0, 10_000, 2)[t - 1]
    (a_t, b_t), (a_s, b_s) = SCHEDULE.path([t])[0], SCHEDULE.path([t - 1])[0]
    ratio = a_t / a_s
    var_s, var_t = a_s**2 * v + b_s**2, a_t**2 * v + b_t**2
    x_t = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    mean, var = learned(x_t)
    assert torch.allclose(mean, a_s * m + ratio * var_s / var_t * (x_t - a_t * m), atol=0.02)
    assert torch.allclose(var, torch.full_like(x_t, var_s - (ratio * var_s) ** 2 / var_t), rtol=0.1)


def test_the_process_ends_at_the_data_and_begins_at_noise():
    path = run_back(learn_transitions(SCHEDULE, TWO, 0, 10_000, 32), 0, 4_000)
    assert path.shape == (26, 4_000)
    assert path[-1].mean() == pytest.approx(0, abs=0.05)
    assert path[-1].std() == pytest.approx(1, abs=0.05)
    assert path[0].mean() == pytest.approx(TWO.mean, abs=0.06)
    assert path[0].std() == pytest.approx(TWO.std, abs=0.06)
    assert (path[0] < -0.3).double().mean() == pytest.approx(0.35, abs=0.03)  # the smaller hump


def test_what_is_drawn_agrees_with_the_closed_form():
    row = mapped("one", Mixture((1.0,), (-1.0,), (0.3,)), 2, SCHEDULE, 0)
    assert row.exact[0] == pytest.approx(
        [-1 + 0.3 * z for z in (-2.0537, -1.2816, -0.6745, 0, 0.6745, 1.2816, 2.0537)], abs=1e-3
    )
    assert "made: mean -1.0" in row.said


def test_hats_interpolate_and_extrapolate():
    knots = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    basis = hats(torch.tensor([-1.0, 0.0, 0.25, 2.0, 3.0], dtype=torch.float64), knots)
    assert (basis @ torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)).tolist() == [-1.0, 0.0, 0.25, 4.0, 7.0]


def test_options_change_the_picture(material):
    assert normal_map.draw(material(), Options(steps=25)) != normal_map.draw(material(), Options(steps=25, mean=-1.0))
