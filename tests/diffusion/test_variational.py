"""The variational bound against torch.distributions, against sums over all levels, and at its edges."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from ddpm.diffusion.process import Prediction, posterior, q_sample
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.diffusion.sde import ve
from ddpm.diffusion.variational import bounds, decoder_log_prob, prior_bound, step_bound

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1
VARIANCES = ["fixed_large", "fixed_small", "learned"]


def draw(seed, count=1):
    generator = torch.Generator().manual_seed(seed)
    x0 = LEVELS[torch.randint(256, (count, 3, 4, 4), generator=generator)]
    noise, wrong, fraction = (torch.randn(x0.shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return x0, noise, Prediction(x0 + 0.2 * wrong, noise, fraction.sigmoid())


def variances(schedule, t, fraction):
    """Variance of p for every setting, written out from beta and alpha_bar."""
    var, beta = posterior(*schedule.path([t, t - 1])).var, float(schedule.beta[t])
    learned = (fraction * math.log(beta) + (1 - fraction) * math.log(var)).exp()
    return {
        "fixed_large": torch.full_like(learned, beta),
        "fixed_small": torch.full_like(learned, var),
        "learned": learned,
    }


@pytest.mark.parametrize("variance", VARIANCES)
@given(st.integers(2, 1000))
def test_a_step_is_the_divergence_of_two_gaussians(variance, t):
    x0, eps, belief = draw(t)
    steps = torch.tensor([t])
    x_t = q_sample(SCHEDULE, x0, steps, eps)
    q = posterior(*SCHEDULE.path([t, t - 1]))
    truth, guess = (q.x0_weight * x + q.x_t_weight * x_t for x in (x0, belief.x0_hat))
    std = variances(SCHEDULE, t, belief.var_fraction)[variance].sqrt()
    expected = kl_divergence(Normal(truth, math.sqrt(q.var)), Normal(guess, std)).mean() / math.log(2)
    found = step_bound(SCHEDULE, x0, x_t, steps, belief, variance)
    torch.testing.assert_close(found, expected.reshape(1), rtol=1e-8, atol=1e-12)


def test_the_divergence_of_a_perfect_belief_with_the_posterior_variance_is_0():
    x0, eps, _ = draw(0, 3)
    steps = torch.tensor([2, 500, 1000])
    found = step_bound(SCHEDULE, x0, q_sample(SCHEDULE, x0, steps, eps), steps, Prediction(x0, eps), "fixed_small")
    assert torch.equal(found, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("mean", [-2.0, -1.0, -0.3, 0.5, 0.9999, 1.5])
@pytest.mark.parametrize("std", [0.001, 0.0073, 0.1, 3.0])
def test_the_probabilities_of_all_levels_sum_to_1(mean, std):
    log_prob = decoder_log_prob(LEVELS, LEVELS - mean, torch.tensor(std, dtype=torch.float64).log())
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_a_level_has_the_mass_of_its_interval():
    x0, mean, std = LEVELS[100:140], 0.02, 0.05
    expected = (Normal(mean, std).cdf(x0 + 1 / 255) - Normal(mean, std).cdf(x0 - 1 / 255)).log()
    torch.testing.assert_close(decoder_log_prob(x0, x0 - mean, torch.tensor(std).double().log()), expected)


def test_the_first_step_is_the_decoder_around_x0_hat():
    """Its variance: the posterior's at t = 2 for both fixed ones, up to beta_1 for a learned one."""
    x0, eps, belief = draw(0)
    steps = torch.tensor([1])
    x_1 = q_sample(SCHEDULE, x0, steps, eps)
    low, high = posterior(*SCHEDULE.path([2, 1])).var, float(SCHEDULE.beta[1])
    learned = (belief.var_fraction * math.log(high) + (1 - belief.var_fraction) * math.log(low)) / 2
    small = torch.tensor(low, dtype=torch.float64).log() / 2
    for variance, log_std in (("fixed_small", small), ("fixed_large", small), ("learned", learned)):
        expected = -decoder_log_prob(x0, x0 - belief.x0_hat, log_std).mean() / math.log(2)
        found = step_bound(SCHEDULE, x0, x_1, steps, belief, variance)
        torch.testing.assert_close(found, expected.reshape(1))


def test_a_batch_of_mixed_steps_is_each_step_alone():
    x0, eps, belief = draw(0, 4)
    steps = torch.tensor([1, 2, 700, 1])
    x_t = q_sample(SCHEDULE, x0, steps, eps)
    alone = [
        step_bound(SCHEDULE, x0[[i]], x_t[[i]], steps[[i]], Prediction(*(part[[i]] for part in belief)), "learned")
        for i in range(4)
    ]
    torch.testing.assert_close(step_bound(SCHEDULE, x0, x_t, steps, belief, "learned"), torch.cat(alone))


def test_gradients_are_finite_and_right_for_beliefs_however_wrong():
    x0 = torch.tensor([-1.0, 0.2, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    log_std = torch.full_like(x0, -4.9).requires_grad_()
    wrong = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64).reshape(1, 3, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda error, std: decoder_log_prob(x0, error, std), (wrong, log_std), atol=1e-4)
    x0_hat = torch.tensor([1e3, -1e4, 1e5]).reshape(1, 3, 1, 1).expand(3, 3, 2, 2).clone().requires_grad_()
    fraction = torch.full_like(x0_hat, 0.5, requires_grad=True)
    steps = torch.tensor([1, 2, 1000])
    truth = x0.float().expand(3, 3, 2, 2)
    step_bound(SCHEDULE, truth, truth, steps, Prediction(x0_hat, x0_hat, fraction), "learned").sum().backward()
    assert x0_hat.grad.isfinite().all()
    assert fraction.grad.isfinite().all()
    beyond = (truth == 1) & (torch.arange(3) == 0).reshape(3, 1, 1, 1)  # the decoder's last level has no upper end
    assert (x0_hat.grad * (x0_hat - truth) > 0)[~beyond].all()  # closer is better
    assert (x0_hat.grad[beyond] == 0).all()


@pytest.mark.parametrize("schedule", [SCHEDULE, zero_terminal_snr(SCHEDULE), ve(1000, 0.01, 50.0)])
def test_the_prior_bound_is_the_divergence_from_pure_noise(schedule):
    x0, _, _ = draw(0, 2)
    a, b = float(schedule.signal_scale[-1]), float(schedule.noise_scale[-1])
    prior = Normal(torch.zeros(()).double(), max(1.0, b))
    expected = kl_divergence(Normal(a * x0, b), prior).mean(dim=(1, 2, 3)) / math.log(2)
    torch.testing.assert_close(prior_bound(schedule, x0), expected, rtol=1e-8, atol=1e-12)


def test_a_chain_without_signal_at_its_end_has_a_finite_bound():
    schedule = zero_terminal_snr(SCHEDULE)
    x0, eps, belief = draw(0)
    found = step_bound(schedule, x0, eps, torch.tensor([1000]), belief, "learned")
    assert found.isfinite().all()


def test_a_chain_of_one_step_is_decoded_with_its_only_variance():
    one = SCHEDULES["linear"](1, 1e-4, 0.02)
    assert float(bounds(one, torch.tensor([1])).log_var.exp()) == pytest.approx(1e-4)


def test_what_has_no_bound_is_refused():
    x0, eps, belief = draw(0)
    with pytest.raises(ValueError, match="t must be whole steps"):
        step_bound(SCHEDULE, x0, eps, torch.tensor([1.5]), belief, "fixed_small")
    with pytest.raises(ValueError, match="for a net without its own"):
        step_bound(SCHEDULE, x0, eps, torch.tensor([3]), Prediction(x0, eps), "learned")
    with pytest.raises(ValueError, match="variance must be fixed_large, fixed_small or learned, got wide"):
        step_bound(SCHEDULE, x0, eps, torch.tensor([3]), belief, "wide")
