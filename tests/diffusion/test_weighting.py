"""Weights: the published formulas, one loss per belief, and no overflow."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm.diffusion.process import TARGETS, make_target, q_sample, read_prediction
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.diffusion.sde import sub_vp, ve, vp_linear
from ddpm.diffusion.weighting import WEIGHTINGS, Weighting
from ddpm.experiment.params import ObjectiveParams

LINEAR = SCHEDULES["linear"](1000, 1e-4, 0.02)
SCHEDULE_OF = {
    "linear": LINEAR,
    "cosine": SCHEDULES["cosine"](1000, 0.0, 0.0),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "ve": ve(1000, 0.01, 50.0),
}


def weights(kind, target, log_snr, **numbers):
    return WEIGHTINGS[kind](target, torch.as_tensor(log_snr, dtype=torch.float64), Weighting(kind, **numbers))


def test_the_table_has_the_names_of_the_parameter():
    assert {*WEIGHTINGS, "vlb"} == set(get_args(ObjectiveParams.model_fields["weighting"].annotation))


@given(
    st.sampled_from(sorted(set(WEIGHTINGS) - {"constant"})),
    st.sampled_from(sorted(SCHEDULE_OF)),
    st.integers(1, 1000),
    st.floats(0.5, 20),
)
def test_one_belief_has_one_loss_whichever_target_expresses_it(kind, name, t, number):
    schedule, steps = SCHEDULE_OF[name], torch.tensor([t])
    x0, eps, wrong = torch.randn(3, 1, 1, 4, 4, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
    x_t = q_sample(schedule, x0, steps, eps)
    a, b = (scale.reshape(()) for scale in schedule.scales(steps))
    losses = []
    for target in TARGETS:
        # The same belief, said by the net: what the target would be if x0 were x0 + wrong in this x_t.
        said = make_target(schedule, target, x0 + wrong, (x_t - a * (x0 + wrong)) / b, steps)
        error = (said - make_target(schedule, target, x0, eps, steps)).square().mean()
        torch.testing.assert_close(
            read_prediction(schedule, target, x_t, said, steps).x0_hat, x0 + wrong, rtol=1e-6, atol=1e-6
        )
        weight = weights(kind, target, schedule.log_snr_at(steps), min_snr_gamma=number, p2_gamma=number / 10)
        losses.append(float(weight * error))
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-6)


@given(st.floats(-12, 12), st.floats(0.1, 30))
def test_min_snr_is_the_published_formula(log_snr, gamma):
    snr = math.exp(log_snr)
    published = {"x0": min(snr, gamma), "eps": min(snr, gamma) / snr, "v": min(snr, gamma) / (snr + 1)}
    for target, weight in published.items():
        assert float(weights("min-snr", target, log_snr, min_snr_gamma=gamma)) == pytest.approx(weight)


@given(st.floats(-12, 12), st.floats(0.1, 2), st.floats(0.1, 4))
def test_p2_and_truncated_snr_are_the_published_formulas(log_snr, gamma, k):
    snr = math.exp(log_snr)
    assert float(weights("p2", "eps", log_snr, p2_gamma=gamma, p2_k=k)) == pytest.approx((k + snr) ** -gamma)
    assert float(weights("truncated-snr", "x0", log_snr)) == pytest.approx(max(snr, 1))
    assert float(weights("truncated-snr", "v", log_snr)) == pytest.approx(max(snr, 1) / (1 + snr))


def test_p2_with_gamma_1_and_k_1_weighs_eps_with_the_variance_of_the_noise():
    """1 / (1 + SNR) = 1 - alpha_bar where variance is preserved."""
    t = torch.arange(1, 1001)
    torch.testing.assert_close(weights("p2", "eps", LINEAR.log_snr_at(t)), 1 - LINEAR.alpha_bar[1:])


def test_constant_weighs_the_score_as_eps():
    t = torch.arange(1, 1001)
    torch.testing.assert_close(weights("constant", "score", LINEAR.log_snr_at(t)), LINEAR.noise_scale[1:].square())
    for target in ("eps", "x0", "v"):
        assert torch.equal(weights("constant", target, LINEAR.log_snr_at(t)), torch.ones(1000, dtype=torch.float64))


@pytest.mark.parametrize("kind", sorted(WEIGHTINGS))
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_nothing_overflows_where_the_ratio_would(kind, target):
    """SNR itself is beyond float32 at both ends; truncated-snr is the one that truly grows there, on its own terms."""
    bounded = weights(kind, target, [-90.0, 90.0])
    assert bounded.isfinite().all()
    assert (bounded >= 0).all()


@pytest.mark.parametrize("kind", sorted(WEIGHTINGS))
@pytest.mark.parametrize("target", ["x0", "v"])
def test_a_step_without_signal_has_a_finite_weight(kind, target):
    schedule = zero_terminal_snr(LINEAR)
    t = torch.arange(1, 1001)
    assert schedule.log_snr_at(t)[-1] == -math.inf
    assert weights(kind, target, schedule.log_snr_at(t)).isfinite().all()
