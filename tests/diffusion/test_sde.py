"""Drift and diffusion against the closed forms of Song et al. (2021), and both against the process they belong to."""

import math

import numpy as np
import pytest
import torch

from ddpm.diffusion.process import posterior
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.diffusion.sde import sub_vp, ve, vp, vp_linear

T, BETA_1, BETA_T = 1000, 1e-4, 0.02
TIMES = torch.tensor([0.3, 1.0, 1.7, 250.25, 999.0, 1000.0]).double()
BETA = BETA_1 + TIMES / T * (BETA_T - BETA_1)  # per step; theirs is T times that, per unit of t / T
PROCESSES = {
    "chain": SCHEDULES["linear"](T, BETA_1, BETA_T),
    "vp": vp_linear(T, BETA_1, BETA_T),
    "vp cosine": vp(SCHEDULES["cosine"](50, 0.1, 0.2)),
    "sub-vp": sub_vp(vp_linear(T, BETA_1, BETA_T)),
    "sub-vp sigmoid": sub_vp(vp(SCHEDULES["sigmoid"](50, 0.1, 0.2))),
    "ve": ve(T, 0.01, 50.0),
}


def test_vp_is_equation_11_of_song_et_al():
    drift, diffusion = PROCESSES["vp"].sde(TIMES)
    torch.testing.assert_close(drift, -BETA / 2)
    torch.testing.assert_close(diffusion, BETA)


def test_sub_vp_is_equation_12_of_song_et_al():
    drift, diffusion = PROCESSES["sub-vp"].sde(TIMES)
    integral = TIMES * BETA_1 + TIMES**2 * (BETA_T - BETA_1) / (2 * T)
    torch.testing.assert_close(drift, -BETA / 2)
    torch.testing.assert_close(diffusion, BETA * (1 - (-2 * integral).exp()))


def test_ve_is_equation_9_of_song_et_al():
    """g^2 = d sigma^2 / dt; sigma falls by sigma_max / sigma_min from T to 1."""
    late = TIMES[1:]
    drift, diffusion = PROCESSES["ve"].sde(late)
    sigma = 0.01 * 5000 ** ((late - 1) / 999)
    assert (drift == 0).all()
    torch.testing.assert_close(diffusion, sigma**2 * 2 * math.log(5000) / 999)
    torch.testing.assert_close(PROCESSES["ve"].sde(TIMES[:1])[1], torch.tensor([1e-4]).double())  # linear below step 1


def test_the_discrete_process_has_nearly_the_drift_of_its_sde():
    """Song et al. (2021), appendix B: -log(1 - beta) / 2 is beta / 2 up to its square."""
    drift, diffusion = PROCESSES["chain"].sde(torch.tensor([10.0, 300.0, 900.0]).double())
    beta = PROCESSES["chain"].beta[[10, 300, 900]]
    torch.testing.assert_close(drift, -beta / 2, rtol=0.06, atol=0)
    torch.testing.assert_close(diffusion, beta, rtol=0.06, atol=0)


@pytest.mark.parametrize("name", sorted(PROCESSES))
@pytest.mark.parametrize(("low", "high"), [(0.02, 0.03), (0.1, 0.6), (0.9, 1.0)])
def test_the_sde_run_from_s_to_t_is_the_step_of_the_process(name, low, high):
    """q(x_t | x_s) has the variance that the integral of g^2 collects, and its mean the signal's decay."""
    schedule = PROCESSES[name]
    s, t = low * schedule.T, high * schedule.T
    now, before = schedule.path([t, s])
    inner = [float(k) for k in range(math.ceil(s), math.floor(t) + 1)]  # where pieces of the curve meet
    ends = np.unique([s, *inner, t])
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(ends)[:, None] / 2
    u = torch.from_numpy((ends[:-1, None] + half + half * nodes).ravel())
    drift, diffusion = schedule.sde(u)

    def integral(values):
        return float((half * weights * values.numpy().reshape(len(half), -1)).sum())

    assert math.exp(integral(drift)) == pytest.approx(now.signal / before.signal, rel=1e-6)
    grown = diffusion * (now.signal / schedule.scales(u)[0]) ** 2
    assert integral(grown) == pytest.approx(posterior(now, before).step_var, rel=1e-6)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_the_ends_1_and_T_belong_to_the_process(name):
    """Solvers start and stop there: drift and diffusion must be the limits from inside."""
    schedule = PROCESSES[name]
    for end, inside in ((1.0, 1 + 1e-7), (schedule.T, schedule.T - 1e-7)):
        at_end, near = (torch.stack(schedule.sde(torch.tensor([t]).double())) for t in (end, inside))
        torch.testing.assert_close(at_end, near, rtol=1e-4, atol=1e-12)


def test_an_sde_can_be_asked_for_where_gradients_are_off():
    with torch.inference_mode():
        drift, _ = PROCESSES["vp cosine"].sde(torch.tensor([3.5]))
    assert float(drift) < 0


@pytest.mark.gpu
def test_a_moved_process_reads_tables_where_times_are():
    """The closed form of sub-VP reads the tables of another process, which `to` alone would leave behind."""
    moved = PROCESSES["sub-vp sigmoid"].to(torch.device("cuda"))
    times = torch.tensor([1.5, 20.0]).double()
    for found, wanted in zip(moved.scales(times.cuda()), PROCESSES["sub-vp sigmoid"].scales(times), strict=True):
        torch.testing.assert_close(found.cpu(), wanted)
