"""Bound and density against closed forms: Gaussian data have an exact denoiser, an exact bound and an exact flow."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from ddpm.diffusion.likelihood import bits_per_dim, dequantized, eps_and_trace, flow_density, variational_bound
from ddpm.diffusion.process import Prediction, posterior, q_sample
from ddpm.diffusion.schedule import SCHEDULES, at
from ddpm.diffusion.sde import sub_vp, ve, vp_linear
from ddpm.diffusion.variational import step_bound

MEAN, STD = 0.1, 0.25
CHAIN = SCHEDULES["linear"](50, 0.002, 0.4)
LEVELS = np.linspace(-1, 1, 256)
WEIGHTS = norm.pdf(LEVELS, MEAN, STD) / norm.pdf(LEVELS, MEAN, STD).sum()
X0 = torch.from_numpy(np.random.default_rng(0).choice(LEVELS, size=(8, 1, 64, 64), p=WEIGHTS))


def gain(schedule, t):
    """d x0_hat / d x_t of the exact denoiser."""
    (scales,) = schedule.path([t])
    return scales.signal * STD**2 / (scales.signal**2 * STD**2 + scales.noise**2)


def gaussian(schedule):
    def denoise(x_t, t):
        a, b = at(schedule, t, x_t)
        x0_hat = MEAN + a * STD**2 / (a**2 * STD**2 + b**2) * (x_t - a * MEAN)
        return Prediction(x0_hat, (x_t - a * x0_hat) / b)

    return denoise


def noise(t):
    return torch.randn(X0.shape, generator=torch.Generator().manual_seed(1000 + t), dtype=torch.float64)


def expected_divergence(t, variance):
    """E KL(q(x_{t-1} | x_t, x0) || p), bits: Gaussians whose means differ by weight (x0 - x0_hat)."""
    (now, before), c = CHAIN.path([t, t - 1]), gain(CHAIN, t)
    q = posterior(now, before)
    spread = (WEIGHTS * (LEVELS - MEAN) ** 2).sum()
    miss = (1 - c * now.signal) ** 2 * spread + (c * now.noise) ** 2
    var = q.step_var if variance == "fixed_large" else q.var
    same = kl_divergence(Normal(0.0, torch.tensor(q.var).double().sqrt()), Normal(0.0, torch.tensor(var).sqrt()))
    return (float(same) + q.x0_weight**2 * miss / (2 * var)) / math.log(2)


def expected_decoder():
    """E -log2 of the mass of the decoder on the level of x0, by Gauss-Hermite quadrature over the noise of x_1."""
    (first, second), c = CHAIN.path([1, 2]), gain(CHAIN, 1)
    std = posterior(second, first).var ** 0.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mu = MEAN + c * (first.signal * (LEVELS[:, None] - MEAN) + first.noise * nodes)
    low = np.where(LEVELS > -1, LEVELS - 1 / 255, -np.inf)[:, None]
    high = np.where(LEVELS < 1, LEVELS + 1 / 255, np.inf)[:, None]
    low, high = (low - mu) / std, (high - mu) / std
    above = low + high > 0  # in the upper tail, where a difference of two numbers near 1 would be 0
    mass = np.where(above, norm.sf(low) - norm.sf(high), norm.cdf(high) - norm.cdf(low))
    return -(WEIGHTS[:, None] * weights / weights.sum() * np.log2(mass)).sum()


def expected_prior():
    last = CHAIN.path([50])[0]
    spread = (WEIGHTS * LEVELS**2).sum()
    return (last.noise**2 - math.log(last.noise**2) - 1 + last.signal**2 * spread) / 2 / math.log(2)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_the_bound_of_gaussian_data_and_its_terms_are_their_closed_forms(variance):
    ticks = []
    found = variational_bound(gaussian(CHAIN), CHAIN, X0, variance, noise, ticks.append)
    assert ticks == [1] * 50
    steps = sum(expected_divergence(t, variance) for t in range(2, 51))
    assert float(found.steps.mean()) == pytest.approx(steps, rel=0.01)
    assert float(found.decoder.mean()) == pytest.approx(expected_decoder(), rel=0.01)
    assert float(found.prior.mean()) == pytest.approx(expected_prior(), rel=1e-2)
    assert float(found.total.mean()) == pytest.approx(steps + expected_decoder() + expected_prior(), rel=0.01)
    assert found.total.shape == (8,)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("t", [2, 3, 10, 35, 50])
def test_each_term_is_its_closed_form(variance, t):
    steps = torch.full((8,), t)
    x_t = q_sample(CHAIN, X0, steps, noise(t))
    found = step_bound(CHAIN, X0, x_t, steps, gaussian(CHAIN)(x_t, steps), variance)
    assert float(found.mean()) == pytest.approx(expected_divergence(t, variance), rel=0.02)


def test_the_bound_is_above_the_entropy_of_the_data_and_closer_with_more_steps():
    entropy = -(WEIGHTS * np.log2(WEIGHTS)).sum()
    x0 = X0[:1, :, :32, :32]
    coarse, fine = (
        variational_bound(
            gaussian(chain), chain, x0, "fixed_small", lambda t: noise(t)[:1, :, :32, :32], lambda _: None
        ).total.mean()
        for chain in (CHAIN, SCHEDULES["linear"](200, 0.0005, 0.1))
    )
    assert entropy < float(fine) < float(coarse) - 0.5


def test_a_worse_denoiser_has_a_worse_bound():
    def wrong(x_t, t):
        belief = gaussian(CHAIN)(x_t, t)
        return belief._replace(x0_hat=belief.x0_hat + 0.1)

    right, worse = (
        variational_bound(denoise, CHAIN, X0[:2], "fixed_small", lambda t: noise(t)[:2], lambda _: None).total
        for denoise in (gaussian(CHAIN), wrong)
    )
    assert (worse > right + 0.1).all()


PROCESSES = {
    "chain": SCHEDULES["linear"](1000, 1e-4, 0.02),
    "vp": vp_linear(1000, 1e-4, 0.02),
    "sub-vp": sub_vp(vp_linear(1000, 1e-4, 0.02)),
    "ve": ve(1000, 0.01, 50.0),
}


def signs(*shape):
    return (2 * torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(7)) - 1).double()


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_the_density_of_gaussian_data_is_that_of_their_law_at_t_1(name):
    schedule = PROCESSES[name]
    x = MEAN + STD * torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    first, last = schedule.path([1, schedule.T])
    std_1, std_T = ((s.signal**2 * STD**2 + s.noise**2) ** 0.5 for s in (first, last))
    found = flow_density(gaussian(schedule), schedule, x, signs(1, 5, 1, 3, 3), 1e-7, lambda _: None)
    # Exactly what the flow implies: its prior, carried back by an affine map
    x_T = last.signal * MEAN + std_T * (x - first.signal * MEAN) / std_1
    prior = Normal(0.0, torch.tensor(schedule.prior_scale).double()).log_prob(x_T).sum(dim=(1, 2, 3))
    torch.testing.assert_close(found.log_prob, prior + 9 * math.log(std_T / std_1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.latent, x_T, rtol=1e-3, atol=1e-4)
    law = Normal(first.signal * MEAN, torch.tensor(std_1).double()).log_prob(x).sum(dim=(1, 2, 3))
    torch.testing.assert_close(found.log_prob, law, rtol=2e-3, atol=2e-2)  # x_T is only nearly as its prior
    assert (found.evaluations < 400).all()


def correlated(schedule, covariance):
    """The exact denoiser of N(0, covariance) over images of 4 pixels."""

    def denoise(x_t, t):
        a, b = (scale.reshape(-1, 1, 1) for scale in at(schedule, t, x_t))
        total = a**2 * covariance + b**2 * torch.eye(4).double()
        x0_hat = (a * covariance @ torch.linalg.solve(total, x_t.reshape(-1, 4, 1))).reshape(x_t.shape)
        return Prediction(x0_hat, (x_t - a[..., None] * x0_hat) / b[..., None])

    return denoise


ALL_SIGNS = torch.tensor(list(product([-1.0, 1.0], repeat=4))).double()  # their mean v v^T is the identity, exactly
ROOT = torch.tensor([[0.5, 0, 0, 0], [0.3, 0.2, 0, 0], [-0.2, 0.1, 0.3, 0], [0.1, -0.1, 0.2, 0.4]]).double()


def test_the_density_of_correlated_data_is_exact_with_all_sign_vectors():
    schedule, covariance = PROCESSES["vp"], ROOT @ ROOT.T
    x = (ROOT @ torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).double()).T.reshape(3, 1, 2, 2)
    probes = ALL_SIGNS.reshape(16, 1, 1, 2, 2).expand(16, 3, 1, 2, 2)
    found = flow_density(correlated(schedule, covariance), schedule, x, probes, 1e-7, lambda _: None)
    (first,) = schedule.path([1])
    law = MultivariateNormal(
        torch.zeros(4).double(), first.signal**2 * covariance + first.noise**2 * torch.eye(4).double()
    )
    torch.testing.assert_close(found.log_prob, law.log_prob(x.reshape(3, 4)), rtol=1e-3, atol=5e-3)


MATRIX = torch.tensor([[1.0, 2, 0, -3], [0.5, -2, 1, 1], [4, 0, 0.3, 1], [1, 1, 1, 2]]).double()


def linear(x_t, t):
    eps_hat = (x_t.reshape(-1, 4) @ MATRIX.to(x_t.dtype).T).reshape(x_t.shape)
    return Prediction(x_t, eps_hat)


def test_the_trace_estimate_is_unbiased():
    x = torch.ones(2, 1, 2, 2).double()
    _, exact = eps_and_trace(linear, x, torch.ones(2), ALL_SIGNS.reshape(16, 1, 1, 2, 2).expand(16, 2, 1, 2, 2))
    torch.testing.assert_close(exact, MATRIX.trace().expand(2))
    one = eps_and_trace(linear, x, torch.ones(2), signs(1, 2, 1, 2, 2))[1]
    assert not torch.allclose(one, MATRIX.trace().expand(2))
    normal = torch.randn(4000, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    _, near = eps_and_trace(linear, x, torch.ones(2), normal)
    torch.testing.assert_close(near, MATRIX.trace().expand(2), rtol=0, atol=4 * 8 / 4000**0.5)


def test_a_frozen_net_without_gradients_can_be_traced():
    frozen = torch.nn.Conv2d(1, 1, 1).requires_grad_(False)
    with torch.inference_mode():
        found = eps_and_trace(
            lambda x, t: Prediction(x, frozen(x)), torch.ones(1, 1, 2, 2), torch.ones(1), torch.ones(1, 1, 1, 2, 2)
        )
    torch.testing.assert_close(found[1], frozen.weight.sum().double().expand(1) * 4)


def test_image_i_has_a_density_of_its_own():
    schedule = PROCESSES["vp"]
    x = torch.linspace(-1, 3, 12).reshape(3, 1, 2, 2)
    probes = signs(2, 3, 1, 2, 2).float()
    together = flow_density(correlated(schedule, ROOT @ ROOT.T), schedule, x.double(), probes.double(), 1e-4, print)
    for i in range(3):
        one = flow_density(
            correlated(schedule, ROOT @ ROOT.T),
            schedule,
            x[i : i + 1].double(),
            probes[:, i : i + 1].double(),
            1e-4,
            print,
        )
        torch.testing.assert_close(one.log_prob[0], together.log_prob[i], rtol=1e-9, atol=1e-9)


def test_images_that_are_equally_likely_need_eight_bits():
    dims, width = 12, 2 + 2 / 255  # all levels, each 2/255 wide
    assert float(bits_per_dim(torch.tensor([-dims * math.log(width)]), dims)) == pytest.approx(8)


def test_dequantized_images_fill_their_levels_and_round_back():
    x0 = torch.from_numpy(LEVELS).reshape(1, 1, 16, 16)
    for draw in (1e-6, 0.5, 1 - 1e-6):
        spread = dequantized(x0, torch.full_like(x0, draw))
        assert torch.equal(((spread + 1) * 127.5).round(), ((x0 + 1) * 127.5).round())
    low, high = (dequantized(x0, torch.full_like(x0, draw)) for draw in (0.0, 1.0))
    torch.testing.assert_close(high.flatten()[:-1], low.flatten()[1:])
