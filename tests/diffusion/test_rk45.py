"""The solver against scipy's, image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from ddpm.diffusion import rk45


def decay(t, y):
    return -y


def oscillator(t, y):
    return torch.stack([y[:, 1], -25 * y[:, 0]], dim=1)


def van_der_pol(t, y):
    return torch.stack([y[:, 1], 3 * (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], dim=1)


def lotka_volterra(t, y):
    return torch.stack([1.5 * y[:, 0] - y[:, 0] * y[:, 1], y[:, 0] * y[:, 1] - 3 * y[:, 1]], dim=1)


def with_time(t, y):
    return t.reshape(-1, 1).cos() * y.sin() + 0.1 * t.reshape(-1, 1)


def still(t, y):
    return torch.zeros_like(y)


STARTS = torch.tensor([[1.0, 2.0], [0.3, 0.1], [2.0, 0.0], [5.0, 4.0], [1e-7, 1e-7], [0.0, 0.0]], dtype=torch.float64)


def solve(field, y, begin, end, tolerance):
    return rk45.integrate(field, rk45.start(field, begin, y, end, tolerance), end, tolerance)


def scipys(field, y, begin, end, tolerance):
    def one(t, y):
        return field(torch.tensor([t], dtype=torch.float64), torch.from_numpy(np.array(y))[None])[0].numpy()

    return solve_ivp(one, (begin, end), y.numpy(), method="RK45", rtol=tolerance, atol=tolerance)


FORWARD = [(field, 0.0, 2.0) for field in (decay, oscillator, van_der_pol, lotka_volterra, with_time, still)]
BACKWARD = [(field, 3.0, 1.0) for field in (decay, oscillator, with_time, still)]  # the others run away


@pytest.mark.parametrize(("field", "begin", "end"), [*FORWARD, *BACKWARD])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_every_image_takes_the_steps_of_scipy_and_ends_where_it_does(field, begin, end, tolerance):
    found = solve(field, STARTS, begin, end, tolerance)
    for i, y in enumerate(STARTS):
        wanted = scipys(field, y, begin, end, tolerance)
        assert wanted.success
        assert int(found.evaluations[i]) == wanted.nfev
        assert int(found.accepted[i]) == len(wanted.t) - 1
        torch.testing.assert_close(found.y[i], torch.from_numpy(wanted.y[:, -1]), rtol=1e-9, atol=1e-11)
    assert (found.t == end).all()


def test_the_order_of_the_solution_is_five():
    """One accepted step of size h errs by h^6."""
    errors = []
    for h in (0.2, 0.1, 0.05):
        y = torch.tensor([[1.0]], dtype=torch.float64)
        motion = rk45.start(decay, 0.0, y, h, 0.5)._replace(step=torch.tensor([h]).double())
        found = rk45.integrate(decay, motion, h, 0.5)
        assert int(found.accepted) == 1
        errors.append(float((found.y - np.exp(-h)).abs()))
    assert errors[0] / errors[1] == pytest.approx(64, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(64, rel=0.1)


@settings(max_examples=15)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.floats(1e-6, 1e-2))
def test_an_image_does_not_know_its_batch(values, tolerance):
    y = torch.tensor(values, dtype=torch.float64).reshape(-1, 1)
    together = solve(with_time, y, 0.0, 4.0, tolerance)
    for i in range(len(values)):
        alone = solve(with_time, y[i : i + 1], 0.0, 4.0, tolerance)
        assert torch.equal(alone.y[0], together.y[i])
        assert int(alone.evaluations) == int(together.evaluations[i])


def test_legs_take_hardly_more_steps_than_one_way():
    whole = solve(oscillator, STARTS[:2], 0.0, 6.0, 1e-6)
    motion = rk45.start(oscillator, 0.0, STARTS[:2], 6.0, 1e-6)
    for bound in (1.0, 1.0001, 1.0002, 2.5, 6.0):
        motion = rk45.integrate(oscillator, motion, bound, 1e-6)
        assert (motion.t == bound).all()
        assert (motion.step > 0.01).all()  # the short way to a near bound says nothing about the step after it
    torch.testing.assert_close(motion.y, whole.y, rtol=1e-4, atol=1e-4)
    assert (motion.accepted <= whole.accepted + 5).all()


def test_float32_states_stay_float32_while_times_are_float64():
    found = solve(oscillator, STARTS[:3].float(), 0.0, 1.0, 1e-5)
    assert (found.y.dtype, found.t.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(found.y.double(), solve(oscillator, STARTS[:3], 0.0, 1.0, 1e-5).y, rtol=1e-4, atol=1e-4)


def test_arrived_images_are_asked_only_at_the_end():
    """Else a process would be asked for times that it does not have."""
    asked = []

    def field(t, y):
        asked.append(t.clone())
        return -y * torch.tensor([[1.0], [300.0]], dtype=torch.float64)

    found = solve(field, torch.ones(2, 1, dtype=torch.float64), 0.0, 1.0, 1e-6)
    assert found.accepted[1] > 2 * found.accepted[0]
    times = torch.stack(asked)
    assert ((times >= 0) & (times <= 1)).all()
    assert (times[-6:, 0] == 1).all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_is_refused(wrong):
    def field(t, y):
        return torch.where(t.reshape(-1, 1) > 0.5, wrong, -y)

    with pytest.raises(ValueError, match=r"rk45: the solution must stay finite .* raise the tolerance"):
        solve(field, STARTS, 0.0, 1.0, 1e-5)
