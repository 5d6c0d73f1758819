"""The training loss: what each part of the objective adds, and what its gradient may touch."""

import math

import pytest
import torch

from ddpm.diffusion.objective import Objective, denoising_loss, plain
from ddpm.diffusion.process import TARGETS, Prediction, make_target, q_sample, read_prediction
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.diffusion.sde import vp_linear
from ddpm.diffusion.variational import step_bound
from ddpm.diffusion.weighting import WEIGHTINGS, Weighting

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
T_BATCH = torch.tensor([1, 2, 250, 1000])


def draw(channels=1):
    generator = torch.Generator().manual_seed(0)
    x0 = (torch.rand(4, 1, 4, 4, generator=generator) * 2 - 1).mul(127.5).round() / 127.5
    eps = torch.randn(4, 1, 4, 4, generator=generator)
    return x0, eps, torch.randn(4, channels, 4, 4, generator=generator) * 0.3


def loss(objective, said, schedule=SCHEDULE, t=T_BATCH, **options):
    x0, eps, _ = draw()
    return denoising_loss(schedule, objective, lambda x, t: said, x0, t, eps, **options)


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("kind", sorted(WEIGHTINGS))
def test_the_loss_is_the_weight_times_the_squared_error(target, kind):
    x0, eps, said = draw()
    error = (make_target(SCHEDULE, target, x0, eps, T_BATCH) - said).square().mean(dim=(1, 2, 3))
    weighting = Weighting(kind, min_snr_gamma=3.0)
    weight = WEIGHTINGS[kind](target, SCHEDULE.log_snr_at(T_BATCH), weighting)
    torch.testing.assert_close(loss(Objective(target, weighting), said), error * weight.float())


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_bound_of_a_fixed_variance_weighs_x0_by_the_fall_of_snr(target):
    """T L_{t-1} = T/2 (SNR_{t-1} - SNR_t) |x0 - x0_hat|^2 nats per pixel for t > 1 (Kingma et al. 2021, eq. 13)."""
    x0, eps, said = draw()
    x0, eps, said = x0.double(), eps.double(), said.double()
    x_t = q_sample(SCHEDULE, x0, T_BATCH, eps)
    error = x0 - read_prediction(SCHEDULE, target, x_t, said, T_BATCH).x0_hat
    snr = SCHEDULE.log_snr.exp()
    expected = 1000 / 2 * (snr[T_BATCH - 1] - snr[T_BATCH]) * error.square().mean(dim=(1, 2, 3)) / math.log(2)
    found = denoising_loss(SCHEDULE, Objective(target, None), lambda x, t: said, x0, T_BATCH, eps)
    torch.testing.assert_close(found[1:], expected[1:], rtol=1e-8, atol=0)
    assert found[0] < math.inf  # the decoder, whose SNR_0 is infinite


def test_the_bound_of_a_learned_variance_is_the_one_of_likelihood():
    x0, eps, said = draw(channels=2)
    x_t = q_sample(SCHEDULE, x0, T_BATCH, eps)
    belief = read_prediction(SCHEDULE, "eps", x_t, said[:, :1], T_BATCH)
    full = Prediction(belief.x0_hat, belief.eps_hat, (said[:, 1:] + 1) / 2)
    expected = 1000 * step_bound(SCHEDULE, x0, x_t, T_BATCH, full, "learned")
    torch.testing.assert_close(loss(Objective("eps", None, learned_variance=True), said), expected.float())


def test_in_the_hybrid_the_bound_trains_the_variance_and_nothing_else():
    hybrid = Objective("eps", Weighting("min-snr"), learned_variance=True, vlb_weight=0.001)
    gradients = {}
    for name, objective in (
        ("hybrid", hybrid),
        ("simple", Objective("eps", Weighting("min-snr"), learned_variance=True)),
        ("bound", Objective("eps", None, learned_variance=True)),
    ):
        said = draw(channels=2)[2].requires_grad_()
        loss(objective, said).sum().backward()
        gradients[name] = said.grad
    assert torch.equal(gradients["hybrid"][:, :1], gradients["simple"][:, :1])
    assert (gradients["simple"][:, 1:] == 0).all()
    assert (gradients["hybrid"][:, 1:] != 0).all()
    torch.testing.assert_close(gradients["hybrid"][:, 1:], 0.001 * gradients["bound"][:, 1:])
    assert (gradients["bound"][:, :1] != 0).all()  # the whole bound trains the mean too


def test_the_hybrid_is_the_sum_of_its_parts():
    said = draw(channels=2)[2]
    parts = loss(Objective("v", Weighting(), True), said) + 0.01 * loss(Objective("v", None, True), said)
    torch.testing.assert_close(loss(Objective("v", Weighting(), True, 0.01), said), parts)


@pytest.mark.parametrize("weighting", [Weighting("p2"), None])
def test_a_plain_loss_is_the_constant_weight_error_of_the_mean(weighting):
    said = draw(channels=2)[2]
    expected = loss(Objective("eps"), said[:, :1])
    vlb_weight = 0.0 if weighting is None else 1.0
    assert torch.equal(loss(plain(Objective("eps", weighting, True, vlb_weight)), said), expected)
    assert torch.equal(loss(plain(Objective("eps", weighting)), said[:, :1]), expected)


@pytest.mark.parametrize("target", ["x0", "v"])
@pytest.mark.parametrize("weighting", [*(Weighting(kind) for kind in sorted(WEIGHTINGS)), None])
def test_a_step_without_signal_has_a_finite_loss_and_gradient(target, weighting):
    said = draw()[2].requires_grad_()
    losses = loss(Objective(target, weighting), said, zero_terminal_snr(SCHEDULE))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert said.grad.isfinite().all()


def test_continuous_time_has_no_bound():
    with pytest.raises(ValueError, match="t must be whole steps"):
        loss(Objective("eps", None), draw()[2], vp_linear(1000, 1e-4, 0.02), T_BATCH.double())


class Recorder:
    """A self-conditioned net that keeps what it was shown."""

    def __init__(self):
        self.inputs, self.gradient_was_on = [], []
        self.scale = torch.tensor(0.4, requires_grad=True)

    def __call__(self, x, _t):
        self.inputs.append(x)
        self.gradient_was_on.append(torch.is_grad_enabled())
        return self.scale * x[:, :1] + x[:, 1:]


def test_a_self_conditioned_net_sees_zeros_or_its_own_belief():
    x0, eps, _ = draw()
    x_t = q_sample(SCHEDULE, x0, T_BATCH, eps)
    for look_twice in (False, True):
        net = Recorder()
        objective = Objective("eps", self_condition=True)
        losses = denoising_loss(SCHEDULE, objective, net, x0, T_BATCH, eps, look_twice)
        assert net.gradient_was_on == ([False, True] if look_twice else [True])
        assert all(torch.equal(seen[:, :1], x_t) for seen in net.inputs)
        assert (net.inputs[0][:, 1:] == 0).all()
        if look_twice:
            belief = read_prediction(SCHEDULE, "eps", x_t, 0.4 * x_t, T_BATCH).x0_hat
            assert belief.abs().max() > 10  # eps at t = 1000 says little about x0
            torch.testing.assert_close(net.inputs[1][:, 1:], belief.clamp(-1, 1))
            assert not net.inputs[1].requires_grad
        losses.sum().backward()
        assert net.scale.grad != 0
