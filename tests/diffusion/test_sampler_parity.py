"""The samplers of the diffusers library, step by step on the same inputs and the same noise.

Their tables are float32; ours are put in their place, so that what is compared is the step itself. Their timestep is
our step minus 1, and their list has no end: ours ends with 0.
"""

import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from ddpm.diffusion.denoiser import clip, denoiser
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, Settings
from ddpm.diffusion.schedule import SCHEDULES

with warnings.catch_warnings():  # on import, of libraries that are not used here
    warnings.simplefilter("ignore")
    from diffusers import (
        DDIMScheduler,
        DDPMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        HeunDiscreteScheduler,
        UniPCMultistepScheduler,
    )
    from diffusers.schedulers import scheduling_dpmsolver_multistep, scheduling_euler_discrete

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # their use of numpy

SCHEDULE = SCHEDULES["linear"](1000, 1e-4, 0.02)
SHAPE = (2, 3, 8, 8)
leading_or_trailing = pytest.mark.parametrize("spacing", ["uniform", "trailing"])
THEIR_NAME = {"uniform": "leading", "trailing": "trailing"}


def normal(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def net(x_t, t, out_channels=3):
    """A small fixed net that depends on the image, its neighbors and the time; bounded, like a trained one's output."""
    weight = normal(7, (out_channels, 3, 3, 3)) / 4
    phase = t.double().reshape(-1, 1, 1, 1) / 300
    output = torch.tanh(F.conv2d(x_t, weight, padding=1) + torch.sin(phase))
    # A learned variance beyond its bounds would be theirs only: ours is held between them.
    return torch.cat([output[:, :3] + 0.3, output[:, 3:]], dim=1)


def ours(sampler, steps, x_T, settings, seed=0, threshold=None, out_channels=3):
    """The state after each step; the noise comes from a stream, in the order in which it is asked for."""
    stream = torch.Generator().manual_seed(seed)
    noise = lambda k: torch.randn(SHAPE, generator=stream, dtype=torch.float64)  # noqa: E731
    denoise = denoiser(
        SCHEDULE, "eps", lambda x, t: net(x, t, out_channels), threshold, learned_variance=out_channels == 6
    )
    return [state.x_s for state in SAMPLERS[sampler](denoise, SCHEDULE, x_T, steps, noise, settings)]


def with_our_tables(scheduler):
    scheduler.alphas_cumprod = SCHEDULE.alpha_bar[1:]
    return scheduler


def with_our_sigmas(scheduler, steps, repeat=1):
    """Put noise over signal at our steps where theirs, float32, stand; Heun's has every inner one twice."""
    sigmas = torch.tensor([now.noise / now.signal for now in SCHEDULE.path(steps)], dtype=torch.float64)
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(repeat), sigmas[-1:]])
    return scheduler


def theirs(scheduler, x_T, out_channels=3, **options):
    """The sample after each of their steps."""
    x, found = x_T, []
    for t in scheduler.timesteps:
        output = net(scheduler.scale_model_input(x, t), (t + 1).expand(len(x)), out_channels)
        x = scheduler.step(output, t, x, **options).prev_sample
        found.append(x)
    return found


def assert_chains(ours, theirs):
    """One step, and all of them, in float64."""
    assert len(ours) == len(theirs) > 0
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=1e-9, atol=1e-9)


@pytest.fixture
def float64_only(monkeypatch):
    """Two of them cast every sample to float32, which their chains then amplify: here that means float64."""
    for module in (scheduling_dpmsolver_multistep, scheduling_euler_discrete):
        monkeypatch.setattr(module, "torch", SimpleNamespace(**{**vars(torch), "float32": torch.float64}))


@pytest.mark.parametrize("num_steps", [1, 7, 10, 50, 333, 1000])
@leading_or_trailing
def test_steps_are_their_timesteps_plus_1(spacing, num_steps):
    scheduler = DDIMScheduler(timestep_spacing=THEIR_NAME[spacing])
    scheduler.set_timesteps(num_steps)
    steps = [*(scheduler.timesteps + 1).tolist(), 0]
    assert SPACINGS[spacing](SCHEDULE, num_steps) == steps


@pytest.mark.parametrize(
    ("theirs_variance", "variance"),
    [
        ("fixed_small", "fixed_small"),
        ("fixed_large", "fixed_large"),
        # Theirs returns a standard deviation here. Their fixed_large_log takes the root of a negative logarithm.
        ("fixed_small_log", "fixed_small"),
    ],
)
@pytest.mark.parametrize("threshold", [None, clip])
def test_ancestral_sampling(theirs_variance, variance, threshold):
    # "leading": its last timestep is 0, the only one at which they add no noise. They clamp variances at 1e-20, less
    # than any other.
    scheduler = with_our_tables(
        DDPMScheduler(variance_type=theirs_variance, timestep_spacing="leading", clip_sample=threshold is not None)
    )
    scheduler.set_timesteps(50)
    x_T = normal(1)
    found = ours("ddpm", SPACINGS["uniform"](SCHEDULE, 50), x_T, Settings(variance=variance), 5, threshold)
    assert_chains(found, theirs(scheduler, x_T, generator=torch.Generator().manual_seed(5)))


def test_ancestral_sampling_with_learned_variance():
    scheduler = with_our_tables(
        DDPMScheduler(variance_type="learned_range", timestep_spacing="leading", clip_sample=False)
    )
    scheduler.set_timesteps(50)
    x_T, steps = normal(1), SPACINGS["uniform"](SCHEDULE, 50)
    found = ours("ddpm", steps, x_T, Settings(variance="learned"), 5, out_channels=6)
    assert_chains(found, theirs(scheduler, x_T, 6, generator=torch.Generator().manual_seed(5)))


@leading_or_trailing
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [None, clip])
def test_ddim(eta, spacing, threshold):
    scheduler = with_our_tables(DDIMScheduler(timestep_spacing=THEIR_NAME[spacing], clip_sample=threshold is not None))
    scheduler.set_timesteps(50)
    x_T = normal(1)
    # Ours always lets eps_hat agree with a clipped x0_hat; theirs only when told.
    options = {"use_clipped_model_output": threshold is not None, "generator": torch.Generator().manual_seed(5)}
    found = ours("ddim", SPACINGS[spacing](SCHEDULE, 50), x_T, Settings(eta=eta), 5, threshold)
    assert_chains(found, theirs(scheduler, x_T, eta=eta, **options))


@pytest.mark.parametrize("num_steps", [5, 50])  # below 15 they may lower the order at the end: only of the last step
def test_dpm_solver(num_steps, float64_only):
    scheduler = DPMSolverMultistepScheduler(timestep_spacing="trailing", final_sigmas_type="zero")
    scheduler.set_timesteps(num_steps)
    steps, x_T = SPACINGS["trailing"](SCHEDULE, num_steps), normal(1)
    found = ours("dpmpp-2m", steps, x_T, Settings())
    assert_chains(found, theirs(with_our_sigmas(scheduler, steps), x_T))


def test_stochastic_dpm_solver(float64_only):
    scheduler = DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++", timestep_spacing="trailing", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(50)
    steps, x_T, stream = SPACINGS["trailing"](SCHEDULE, 50), normal(1), torch.Generator().manual_seed(5)
    noise = [torch.randn(SHAPE, generator=stream, dtype=torch.float64) for _ in steps]
    scheduler, x, expected = with_our_sigmas(scheduler, steps), x_T, []
    for k, t in enumerate(scheduler.timesteps):  # their own draws would be float32
        x = scheduler.step(net(x, (t + 1).expand(len(x))), t, x, variance_noise=noise[k]).prev_sample
        expected.append(x)
    assert_chains(ours("dpmpp-2m-sde", steps, x_T, Settings(eta=1.0), seed=5), expected)


@pytest.mark.parametrize("num_steps", [5, 50])
def test_unipc(num_steps):
    scheduler = UniPCMultistepScheduler(
        solver_order=2, solver_type="bh2", predict_x0=True, timestep_spacing="trailing", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(num_steps)
    steps, x_T = SPACINGS["trailing"](SCHEDULE, num_steps), normal(1)
    assert_chains(ours("unipc", steps, x_T, Settings()), theirs(with_our_sigmas(scheduler, steps), x_T))


def signals(steps):
    return [now.signal for now in SCHEDULE.path(steps)]


@pytest.mark.parametrize("num_steps", [5, 50])
def test_euler(num_steps, float64_only):
    # Theirs holds x / signal_scale. With churn it asks the net before the noise is added, where algorithm 2 of Karras
    # et al. asks after: parity is without.
    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", final_sigmas_type="zero")
    scheduler.set_timesteps(num_steps)
    steps, x_T = SPACINGS["trailing"](SCHEDULE, num_steps), normal(1)
    scale = signals(steps)
    found = theirs(with_our_sigmas(scheduler, steps), x_T / scale[0])
    expected = [x * signal for x, signal in zip(found, scale[1:], strict=True)]
    assert_chains(ours("euler", steps, x_T, Settings()), expected)


@pytest.mark.parametrize("num_steps", [5, 50])
def test_heun(num_steps):
    # Theirs takes a step in two calls, of which the second ends it; the last step, Euler's, is one call.
    scheduler = HeunDiscreteScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    steps, x_T = SPACINGS["trailing"](SCHEDULE, num_steps), normal(1)
    scale = signals(steps)
    found = theirs(with_our_sigmas(scheduler, steps, repeat=2), x_T / scale[0])
    expected = [x * signal for x, signal in zip([*found[1::2], found[-1]], scale[1:], strict=True)]
    assert_chains(ours("heun", steps, x_T, Settings()), expected)
