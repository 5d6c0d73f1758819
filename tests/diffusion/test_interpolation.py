"""Between the steps: scipy's PCHIP, falling, continuous, and inverted by bisection."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from ddpm.diffusion.interpolation import monotone_cubic
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.diffusion.sde import sub_vp, ve, vp, vp_linear

TABLES = {f"{kind} {T}": SCHEDULES[kind](T, 1e-4, 0.02) for kind in sorted(SCHEDULES) for T in (1, 2, 3, 40, 1000)}
ZERO = {f"zero {name}": zero_terminal_snr(table) for name, table in TABLES.items() if table.T > 2}
CONTINUOUS = {
    "vp": vp_linear(1000, 1e-4, 0.02),
    "vp cosine": vp(SCHEDULES["cosine"](50, 0.1, 0.2)),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "sub-vp sigmoid": sub_vp(vp(SCHEDULES["sigmoid"](50, 0.1, 0.2))),
    "ve": ve(1000, 0.01, 50.0),
    "ve 1": ve(1, 0.01, 50.0),
}
ALL = TABLES | ZERO | CONTINUOUS


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 5), min_size=2, max_size=20), st.floats(0, 1))
def test_the_cubic_is_scipys_pchip(falls, share):
    y = -np.cumsum(falls)
    x = share * (len(y) - 1)
    found = float(monotone_cubic(torch.from_numpy(y), times(x))[0])
    assert found == pytest.approx(float(PchipInterpolator(np.arange(len(y)), y)(x)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", sorted(name for name in TABLES if not name.endswith(" 1")))
def test_log_snr_is_scipys_pchip_between_1_and_T(name):
    schedule = TABLES[name]
    t = torch.linspace(1, schedule.T, 999, dtype=torch.float64)
    wanted = PchipInterpolator(np.arange(1, schedule.T + 1), schedule.log_snr[1:].numpy())(t.numpy())
    torch.testing.assert_close(schedule.log_snr_at(t), torch.from_numpy(wanted), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_curve_meets_the_table_at_whole_steps(name):
    schedule = ALL[name]
    steps = torch.arange(schedule.T + 1)
    for curve, table in zip(schedule.scales(steps.double()), schedule.scales(steps), strict=True):
        torch.testing.assert_close(curve, table, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(ALL))
def test_log_snr_falls_strictly_and_without_jumps(name):
    schedule = ALL[name]
    t = torch.linspace(0, schedule.T, 5003, dtype=torch.float64)[1:-1]
    assert (schedule.log_snr_at(t).diff() < 0).all()
    whole = torch.arange(1, schedule.T).double()  # where pieces meet, to a relative 1e-9 of a step on either side
    for above, below in zip(schedule.scales(whole - 1e-9), schedule.scales(whole + 1e-9), strict=True):
        torch.testing.assert_close(above, below, rtol=1e-7, atol=1e-7)


@settings(max_examples=60)
@given(st.sampled_from(sorted(ALL)), st.floats(1e-3, 1))
def test_time_at_inverts_log_snr_at(name, share):
    schedule = ALL[name]
    t = times(share * schedule.T * (1 if name in CONTINUOUS or name in TABLES else 0.999))
    torch.testing.assert_close(schedule.time_at(schedule.log_snr_at(t)), t, rtol=1e-6, atol=1e-6)


def test_time_at_gives_the_nearer_end_outside():
    schedule = CONTINUOUS["vp"]
    assert schedule.time_at(times(1e9, -1e9)).tolist() == pytest.approx([0, 1000], abs=1e-9)


def test_times_between_steps_keep_their_precision_in_a_path():
    """float32 would move a time by as much as 3e-5."""
    schedule = TABLES["linear 1000"]
    (found,) = schedule.path([999.4999891])[:1]
    signal, noise = schedule.scales(times(999.4999891))
    assert found == (float(signal), float(noise))


def test_the_device_is_looked_at_once():
    schedule = vp(SCHEDULES["cosine"](50, 0.1, 0.2))
    assert schedule.knots is schedule.knots
