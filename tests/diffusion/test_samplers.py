"""Every sampler, on every kind of process, against a closed form: Gaussian data have an exact denoiser."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ddpm.diffusion.process import Prediction
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, Settings
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.experiment.params import SampleParams

PROCESSES = ("linear", "cosine", "vp", "sub-vp", "ve")
USUAL = {"ddim": Settings(eta=1.0), "dpmpp-2m-sde": Settings(eta=1.0), "heun": Settings(churn=20.0)}
NUM_STEPS = {"ddpm": 1000, "ddim": 1000}  # of first order in the variance; 250 for the others
# Else: the discretization, and 1 % from 16,384 draws. Langevin steps that follow the norms of x and of their own noise
# widen the distribution by 2 % at the 256 pixels of these images, by less at more.
STD_TOLERANCE = {"predictor-corrector": 0.04}
samplers = pytest.mark.parametrize("sampler", sorted(SAMPLERS))
spread = pytest.mark.parametrize("spacing", sorted(SPACINGS))


def draws(shape, seed=0):
    """An endless supply of unit normal noise."""
    generator = torch.Generator().manual_seed(seed)
    return lambda k: torch.randn(shape, generator=generator, dtype=torch.float64)


def sample(sampler, denoise, schedule, x_T, steps, settings, noise=None):
    *_, last = SAMPLERS[sampler](denoise, schedule, x_T, steps, noise or draws(x_T.shape), settings)
    assert last.s == 0
    return last.x_s


def assert_distribution(x, gaussian, tolerance):
    assert float(x.mean()) == pytest.approx(gaussian.mean, abs=0.01)
    assert float(x.std()) == pytest.approx(gaussian.std, rel=tolerance)


def test_parameters_name_the_samplers_and_spacings():
    fields = SampleParams.model_fields
    assert set(fields["sampler"].annotation.__args__) == set(SAMPLERS)
    assert set(fields["spacing"].annotation.__args__) == set(SPACINGS)


@samplers
@pytest.mark.parametrize("process", PROCESSES)
def test_samplers_reach_mean_and_variance(sampler, process, processes, gaussian):
    schedule, noise = processes[process], draws((64, 1, 16, 16), seed=1)
    mean, std = gaussian.marginal(schedule.path([schedule.T])[0])
    steps = SPACINGS["trailing"](schedule, NUM_STEPS.get(sampler, 250))
    settings = USUAL.get(sampler, Settings())
    x = sample(sampler, gaussian.denoiser(schedule), schedule, mean + std * noise(0), steps, settings, noise)
    assert_distribution(x, gaussian, STD_TOLERANCE.get(sampler, 0.03))


@pytest.mark.parametrize(
    ("sampler", "num_steps", "settings"),
    [
        ("ddpm", 1000, Settings(variance="fixed_large")),
        ("ddim", 250, Settings(eta=0.0)),
        ("ddim", 500, Settings(eta=0.5)),
        ("dpmpp-2m-sde", 250, Settings(eta=0.5)),
        ("euler", 500, Settings(churn=20.0, churn_interval=(0.05, 20.0))),
        ("heun", 250, Settings(churn=0.0)),
        ("predictor-corrector", 500, Settings(corrector_steps=0)),
        ("predictor-corrector", 250, Settings(corrector_steps=2, corrector_snr=0.05)),
    ],
)
def test_other_settings_reach_mean_and_variance_too(sampler, num_steps, settings, processes, gaussian):
    schedule, noise = processes["linear"], draws((64, 1, 16, 16), seed=1)
    steps = SPACINGS["trailing"](schedule, num_steps)
    x = sample(sampler, gaussian.denoiser(schedule), schedule, noise(0), steps, settings, noise)
    assert_distribution(x, gaussian, 0.05)


@samplers
def test_from_karras_steps_mean_and_variance_come_out_as_well(sampler, processes, gaussian):
    """Times between the whole steps of a chain."""
    schedule, noise = processes["linear"], draws((64, 1, 16, 16), seed=1)
    steps = SPACINGS["karras"](schedule, NUM_STEPS.get(sampler, 250))
    x = sample(sampler, gaussian.denoiser(schedule), schedule, noise(0), steps, USUAL.get(sampler, Settings()), noise)
    assert_distribution(x, gaussian, 0.06)


@pytest.mark.parametrize(
    ("one", "other", "settings"),
    [
        ("ddpm", "ddim", Settings(variance="fixed_small", eta=1.0)),
        ("ddpm", "predictor-corrector", Settings(variance="fixed_small", corrector_steps=0)),
        ("euler", "ddim", Settings()),
        ("dpmpp-2m", "dpmpp-2m-sde", Settings(eta=0.0)),
    ],
)
def test_samplers_meet_where_their_formulas_do(one, other, settings, processes, gaussian):
    schedule = processes["vp"]
    denoise, steps = gaussian.denoiser(schedule), SPACINGS["trailing"](schedule, 20)
    x_T = draws((50, 1, 1, 1), seed=2)(0)
    first, second = (sample(name, denoise, schedule, x_T, steps, settings) for name in (one, other))
    torch.testing.assert_close(first, second)


@samplers
def test_every_step_yields_its_state(sampler, processes, gaussian):
    schedule = processes["linear"]
    steps = SPACINGS["trailing"](schedule, 7)
    x_T = draws((3, 1, 2, 2), seed=2)(0)
    denoise = gaussian.denoiser(schedule)
    states = list(SAMPLERS[sampler](denoise, schedule, x_T, steps, draws(x_T.shape), Settings()))
    assert [state.s for state in states] == steps[1:]
    assert all(state.x_s.dtype == torch.float64 for state in states)
    torch.testing.assert_close(states[-1].x_s, states[-1].x0_hat)  # the last step believes the net


EVALUATIONS = {
    "ddpm": 10,
    "ddim": 10,
    "dpmpp-2m": 10,
    "dpmpp-2m-sde": 10,
    "euler": 10,
    "euler-maruyama": 10,
    "heun": 19,
    "predictor-corrector": 28,
    "unipc": 10,
}


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"ode"}))  # whose count follows the tolerance
def test_network_evaluations_of_ten_steps(sampler, processes, gaussian):
    schedule, calls = processes["linear"], []

    def denoise(x_t, t):
        calls.append(float(t[0]))
        return gaussian.denoiser(schedule)(x_t, t)

    settings = Settings(eta=1.0, churn=5.0, corrector_steps=2)
    sample(sampler, denoise, schedule, draws((1, 1, 2, 2))(0), SPACINGS["trailing"](schedule, 10), settings)
    assert len(calls) == EVALUATIONS[sampler]
    assert min(calls) > 0  # there is no eps_hat at t = 0


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"ode"}))
def test_draws_are_counted_from_0(sampler, processes, gaussian):
    schedule, asked = processes["linear"], []

    def noise(k):
        asked.append(k)
        return draws((1, 1, 2, 2), seed=k)(0)

    settings = Settings(eta=1.0, churn=5.0, churn_interval=(0.5, 50.0), corrector_steps=2)
    steps = SPACINGS["trailing"](schedule, 10)
    sample(sampler, gaussian.denoiser(schedule), schedule, noise(0), steps, settings, noise)
    assert asked[1:] == list(range(len(asked) - 1))


@samplers
def test_an_image_does_not_depend_on_its_batch(sampler, processes):
    schedule, whole = processes["linear"], draws((4, 1, 4, 4), seed=3)(0)
    whole[0] *= 50  # a neighbor that would be felt

    def denoise(x_t, t):
        a, b = (scale.reshape(-1, 1, 1, 1) for scale in schedule.scales(t))
        eps_hat = torch.tanh(x_t + x_t.roll(1, dims=3))
        return Prediction((x_t - b * eps_hat) / a, eps_hat)

    def run(rows):
        noise = lambda k: draws((4, 1, 4, 4), seed=100 + k)(0)[rows]  # noqa: E731
        settings = Settings(eta=1.0, churn=5.0)
        steps = [800, 600, 400, 200, 100, 0]
        return sample(sampler, denoise, schedule, whole[rows], steps, settings, noise)

    torch.testing.assert_close(run([0, 1, 2, 3])[2:], run([2, 3]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"ode"}))  # which may look at the device once a step
def test_steps_wait_for_no_device(sampler, processes):
    """A tensor on the meta device has no values: whoever asks for one gets an error."""
    x_T = torch.empty(2, 1, 4, 4, device="meta")
    denoise = lambda x_t, t: Prediction(x_t * 0.5, x_t * 0.5)  # noqa: E731
    settings, steps = Settings(eta=1.0, churn=5.0), [900, 500, 100, 0]
    assert sample(sampler, denoise, processes["linear"], x_T, steps, settings, lambda k: x_T).device.type == "meta"


FROM_PURE_NOISE = ("ddpm", "ddim", "dpmpp-2m", "dpmpp-2m-sde", "euler", "heun", "predictor-corrector", "unipc")


@pytest.mark.parametrize("sampler", FROM_PURE_NOISE)
def test_pure_noise_is_a_start(sampler, gaussian):
    """Zero terminal SNR: log SNR is -inf at T, and no eps_hat could tell x0_hat; a net of target v or x0 can."""
    schedule, noise = zero_terminal_snr(SCHEDULES["linear"](1000, 1e-4, 0.02)), draws((64, 1, 16, 16), seed=1)
    settings = Settings(eta=1.0, churn=20.0, corrector_steps=0)
    steps = SPACINGS["trailing"](schedule, NUM_STEPS.get(sampler, 500))
    x = sample(sampler, gaussian.denoiser(schedule), schedule, noise(0), steps, settings, noise)
    assert_distribution(x, gaussian, 0.03)


def test_pure_noise_is_refused_where_a_formula_divides_by_the_signal(gaussian):
    schedule = zero_terminal_snr(SCHEDULES["linear"](1000, 1e-4, 0.02))
    with pytest.raises(ValueError, match=r"must not be euler-maruyama where x_T holds no signal"):
        sample("euler-maruyama", gaussian.denoiser(schedule), schedule, torch.ones(1, 1, 1, 1), [1000, 0], Settings())
    with pytest.raises(ValueError, match=r"must not be karras where x_T holds no signal"):
        SPACINGS["karras"](schedule, 10)


@spread
@pytest.mark.parametrize(("T", "num_steps"), [(1000, 1000), (1000, 50), (1000, 7), (10, 1), (10, 10), (1, 1)])
def test_steps_fall_from_T_at_most_to_0(spacing, T, num_steps):
    steps = SPACINGS[spacing](SCHEDULES["linear"](T, 1e-4, 0.02), num_steps)
    assert len(steps) == num_steps + 1
    assert steps[0] <= T
    assert steps[-1] == 0
    assert all(t > s for t, s in pairwise(steps))


@pytest.mark.parametrize("num_steps", [5, 10, 20])  # with more the first ones round to the same number
def test_quadratic_steps_are_those_of_the_ddim_authors_plus_1(num_steps, processes):
    times = [int(root**2) for root in np.linspace(0, np.sqrt(0.8 * 1000), num_steps)]
    assert SPACINGS["quadratic"](processes["linear"], num_steps) == [*(time + 1 for time in reversed(times)), 0]


def test_karras_steps_are_even_in_the_seventh_root_of_noise_over_signal(processes):
    schedule = processes["linear"]
    scales = schedule.path(SPACINGS["karras"](schedule, 12)[:-1])
    roots = torch.tensor([(now.noise / now.signal) ** (1 / 7) for now in scales], dtype=torch.float64)
    torch.testing.assert_close(roots, torch.linspace(roots[0], roots[-1], 12, dtype=torch.float64))
