"""Schedules: what every table must satisfy, and the values of the papers."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm.diffusion.process import q_sample
from ddpm.diffusion.schedule import MAX_BETA, SCHEDULES, at, linear, zero_terminal_snr
from ddpm.engine.build import build_schedule
from ddpm.experiment.params import ScheduleParams

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what diffusers imports
    from diffusers import DDPMScheduler
    from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr

KINDS = sorted(SCHEDULES)


@given(st.sampled_from(KINDS), st.integers(1, 1500), st.floats(1e-5, 1e-2), st.floats(1.1, 50))
def test_tables_of_every_kind_are_sound(kind, T, beta_1, ratio):
    schedule = SCHEDULES[kind](T, beta_1, min(beta_1 * ratio, 0.5))
    assert schedule.T == T
    assert len(schedule.alpha_bar) == T + 1
    assert schedule.beta.dtype == schedule.alpha_bar.dtype == torch.float64
    assert schedule.beta[0] == 0
    assert schedule.alpha_bar[0] == 1
    assert (schedule.alpha_bar.diff() < 0).all()
    assert ((schedule.beta[1:] > 0) & (schedule.beta[1:] < MAX_BETA + 1e-9)).all()
    torch.testing.assert_close(schedule.signal_scale**2 + schedule.noise_scale**2, torch.ones(T + 1).double())
    torch.testing.assert_close(schedule.log_snr[1:], (schedule.alpha_bar / (1 - schedule.alpha_bar))[1:].log())


def test_linear_is_that_of_ho_et_al():
    schedule = SCHEDULES["linear"](1000, 1e-4, 0.02)
    assert float(schedule.beta[1]) == pytest.approx(1e-4)
    assert float(schedule.beta[1000]) == pytest.approx(0.02)
    assert float(schedule.alpha_bar[1000]) == pytest.approx(4.0358e-5, rel=1e-4)


def test_quadratic_is_linear_in_the_square_root():
    steps = SCHEDULES["quadratic"](1000, 1e-4, 0.02).beta[1:].sqrt().diff()
    torch.testing.assert_close(steps, steps[0].expand(999))


def test_cosine_follows_its_curve_until_beta_is_clipped():
    schedule = SCHEDULES["cosine"](1000, 0.1, 0.2)
    curve = torch.tensor([math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]).double()
    torch.testing.assert_close(schedule.alpha_bar[:999], (curve / curve[0])[:999], rtol=1e-6, atol=0)
    assert float(schedule.beta[1000]) == pytest.approx(MAX_BETA)


def test_sigmoid_is_half_way_in_the_middle():
    assert float(SCHEDULES["sigmoid"](1000, 0.1, 0.2).alpha_bar[500]) == pytest.approx(0.5)


def test_the_first_steps_keep_their_noise_in_float32():
    """Casting alpha_bar before the square root would give steps 1.. no noise in low precision (facts, section 5)."""
    schedule = SCHEDULES["linear"](1000, 1e-4, 0.02)
    scale = at(schedule, torch.arange(1, 11), torch.zeros(1, dtype=torch.bfloat16))[1].flatten()
    assert scale.dtype == torch.float32
    torch.testing.assert_close(scale.double(), (1 - schedule.alpha_bar[1:11]).sqrt(), rtol=1e-6, atol=0)


def test_a_step_outside_is_refused():
    with pytest.raises(IndexError):
        at(SCHEDULES["linear"](10, 1e-4, 0.02), torch.tensor([11]), torch.zeros(1))


THEIRS = {"linear": "linear", "quadratic": "scaled_linear", "cosine": "squaredcos_cap_v2"}
"""Our name -> that of diffusers. Their `sigmoid` is a sigmoid of beta, not of alpha_bar: another schedule."""


@pytest.mark.parametrize("kind", sorted(THEIRS))
@pytest.mark.parametrize("T", [20, 1000])
def test_tables_are_those_of_diffusers(kind, T):
    ours = SCHEDULES[kind](T, 1e-4, 0.02)
    theirs = DDPMScheduler(T, 1e-4, 0.02, beta_schedule=THEIRS[kind])  # float32
    torch.testing.assert_close(ours.beta[1:].float(), theirs.betas, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.alpha_bar[1:].float(), theirs.alphas_cumprod, rtol=2e-5, atol=0)


def test_the_sigmoid_of_diffusers_is_another_one():
    theirs = DDPMScheduler(1000, 1e-4, 0.02, beta_schedule="sigmoid").alphas_cumprod
    assert (SCHEDULES["sigmoid"](1000, 1e-4, 0.02).alpha_bar[1:].float() - theirs).abs().max() > 0.1


@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_noising_is_add_noise_of_diffusers(kind):
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(4, 3, 8, 8, generator=generator) for _ in range(2))
    t = torch.tensor([1, 2, 500, 1000])
    theirs = DDPMScheduler(1000, 1e-4, 0.02, beta_schedule=THEIRS[kind]).add_noise(x0, eps, t - 1)
    torch.testing.assert_close(
        q_sample(SCHEDULES[kind](1000, 1e-4, 0.02), x0, t, eps), theirs, rtol=1e-5, atol=1e-5
    )  # 1 - alpha_bar in float32


@pytest.mark.parametrize("kind", sorted(THEIRS))
def test_zero_terminal_snr_is_that_of_diffusers(kind):
    ours = zero_terminal_snr(SCHEDULES[kind](1000, 1e-4, 0.02))
    betas = DDPMScheduler(1000, 1e-4, 0.02, beta_schedule=THEIRS[kind]).betas
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    torch.testing.assert_close(ours.alpha_bar[1:].float(), theirs, rtol=1e-5, atol=1e-6)


@given(st.sampled_from(KINDS), st.integers(2, 1500))
def test_zero_terminal_snr_keeps_the_first_step_and_empties_the_last(kind, T):
    before = SCHEDULES[kind](T, 1e-4, 0.02)
    after = zero_terminal_snr(before)
    assert after.signal_scale[-1] == 0
    assert after.noise_scale[-1] == 1
    assert float(after.signal_scale[1]) == pytest.approx(float(before.signal_scale[1]))
    assert (after.alpha_bar.diff() < 0).all()


def test_a_single_step_cannot_lose_its_signal():
    with pytest.raises(ValueError, match=r"zero_terminal_snr needs T of at least 2, got 1"):
        zero_terminal_snr(linear(1, 1e-4, 0.02))


@pytest.mark.parametrize("process", ["chain", "vp", "sub-vp"])
@pytest.mark.parametrize("T", [50, 100, 250, 4000])
def test_rescaled_betas_end_at_the_noise_of_a_thousand_steps(process, T):
    def params(T, rescale):
        return ScheduleParams(
            process=process,
            kind="linear",
            T=T,
            beta_1=1e-4,
            beta_T=0.02,
            rescale=rescale,
            zero_terminal_snr=False,
            sigma_min=0.01,
            sigma_max=50.0,
        )

    cpu = torch.device("cpu")
    long, short = build_schedule(params(1000, False), cpu), build_schedule(params(T, True), cpu)
    if process == "chain":
        assert float(short.beta[-1]) == pytest.approx(20 / T)
        assert float(short.beta[1]) == pytest.approx(0.1 / T)
    shares = torch.linspace(0.1, 1, 10).double()
    tolerance = 40 / T if process == "chain" else 1e-9  # steps of a chain leave a bit less signal than the SDE
    for ours, theirs in zip(short.scales(shares * T), long.scales(shares * 1000), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=tolerance / 10)
