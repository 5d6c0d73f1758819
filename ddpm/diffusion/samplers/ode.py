"""The probability-flow ODE (Song et al. 2021, Score-SDE, eq. 13) with steps that adapt to each image."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ddpm.diffusion import rk45
from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.samplers.steps import Noise, Settings, State, full
from ddpm.diffusion.schedule import Schedule, at
from ddpm.types import Images

FIRST = 1
"""The smallest time of a net: the flow ends here, and one look at x0_hat remains."""


def ode(
    denoise: Denoiser,
    schedule: Schedule,
    x_T: Images,
    steps: Sequence[float],
    noise: Noise,  # noqa: ARG001  (one signature for all samplers)
    settings: Settings,
) -> Iterator[State]:
    """dx/dt = f x - g^2 score / 2, score = -eps_hat / noise_scale, from steps[0] down to t = 1 (Song et al. 2021).

    Reads `settings.tolerance`, the relative and absolute error of one step of `rk45`. The solver chooses its own steps;
    `steps` are where it stops on the way, and each stop yields a state with the belief of that time. The last state,
    s = 0, is what the net believes at t = 1. Where tables are interpolated the flow bends at every whole step, and
    errors fall more slowly than the tolerance. The solution is deterministic, and image i does not depend on its batch.

    Raises:
        ValueError: the flow does not stay finite.
    """
    field = flow(denoise, schedule)
    motion = rk45.start(field, steps[0], x_T, FIRST, settings.tolerance)
    for s in steps[1:]:
        motion = rk45.integrate(field, motion, max(s, FIRST), settings.tolerance)
        if s < FIRST:
            break
        yield State(s, motion.y, _belief(schedule, motion))
    x0_hat = denoise(motion.y, full(motion.y, FIRST)).x0_hat
    yield State(0, x0_hat, x0_hat)


def flow(denoise: Denoiser, schedule: Schedule) -> rk45.Field:
    """The field of the ODE, a function of (t, x): t (batch,) float64, x images."""

    def field(t: Tensor, x: Images) -> Images:
        drift, eps_weight = (weight.to(x.dtype).reshape(-1, 1, 1, 1) for weight in flow_weights(schedule, t))
        return drift * x + eps_weight * denoise(x, t).eps_hat

    return field


def flow_weights(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    """(f, g^2 / (2 noise_scale)): the weights of x and of eps_hat in the flow, (batch,) float64."""
    drift, diffusion = schedule.sde(t)
    return drift, diffusion / (2 * schedule.scales(t)[1])


def _belief(schedule: Schedule, motion: rk45.Motion) -> Images:
    """x0_hat where the solver stands, read from the slope that it already knows."""
    x = motion.y
    drift, eps_weight = (weight.to(x.dtype).reshape(-1, 1, 1, 1) for weight in flow_weights(schedule, motion.t))
    signal, noise_scale = at(schedule, motion.t, x)
    return (x - noise_scale * (motion.slope - drift * x) / eps_weight) / signal
