"""Points in the plane, and a small net that learns their density within seconds: diffusion that fits on one picture.

A point is an image of one pixel with two channels, so that schedule, objective and samplers are those of images.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.denoiser import Denoiser, denoiser
from ddpm.diffusion.objective import Objective, denoising_loss
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import Settings, State
from ddpm.diffusion.schedule import Schedule
from ddpm.diffusion.time_sampling import uniform
from ddpm.nets.init import init_weights
from ddpm.nets.toy import ToyNet
from ddpm.types import Images, Indices

OBJECTIVE = Objective(target="eps")
BATCH = 512
LEARNING_RATE = 1e-2


def spiral(draws: Tensor) -> Tensor:
    """One arm of a turn and a third, slightly blurred."""
    turn = 3.5 * math.pi * (0.05 + 0.95 * draws[:, 0]).sqrt()
    blur = 0.25 * (draws[:, 1:3] - 0.5)
    return torch.stack([turn * turn.cos(), turn * turn.sin()], dim=1) / 5.0 + blur


def moons(draws: Tensor) -> Tensor:
    """Two half circles that reach into each other."""
    angle, upper = math.pi * draws[:, 0], draws[:, 3] < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return 1.4 * (torch.stack([x - 0.5, y - 0.25], dim=1) + 0.2 * (draws[:, 1:3] - 0.5))


def checkerboard(draws: Tensor) -> Tensor:
    """The eight dark squares of a board of four by four."""
    column, row = (4 * draws[:, 0]).floor(), (2 * draws[:, 3]).floor()
    corner = torch.stack([column, 2 * row + column % 2], dim=1)
    return (corner + draws[:, 1:3] - 2) * 0.9


DENSITIES: dict[str, Callable[[Tensor], Tensor]] = {"spiral": spiral, "moons": moons, "checkerboard": checkerboard}
"""Name -> function of (batch, 4) uniform numbers that gives (batch, 2) points of about unit variance."""


def draw(name: str, seed: int, index: Indices, purpose: str = "points") -> Images:
    """The points `index` of a density, (batch, 2, 1, 1) float32; another purpose gives other ones."""
    return DENSITIES[name](randomness.uniform(seed, purpose, 0, index, 4)).float()[:, :, None, None]


@dataclass(frozen=True)
class Toy:
    """A trained net with its process."""

    net: ToyNet
    schedule: Schedule
    seed: int

    @property
    def denoise(self) -> Denoiser:
        """What samplers see."""
        return denoiser(self.schedule, OBJECTIVE.target, self.net, threshold=None)

    def score(self, x_t: Images, t: int) -> Images:
        """The gradient of log q(x_t) as the net believes it: -eps_hat / noise_scale (Song & Ermon 2019)."""
        steps = torch.full((len(x_t),), t)
        return -self.denoise(x_t, steps).eps_hat / self.schedule.path([t])[0].noise

    def prior(self, index: Indices) -> Images:
        """x_T of the points `index`."""
        return self._normal("x_T", 0, index)

    def walk(self, index: Indices, sampler: str, steps: list[float]) -> Iterator[State]:
        """The points `index` from noise to data."""
        return SAMPLERS[sampler](
            self.denoise,
            self.schedule,
            self.prior(index),
            steps,
            lambda k: self._normal("reverse noise", k, index),
            Settings(),
        )

    def _normal(self, purpose: str, step: int, index: Indices) -> Images:
        return randomness.normal(self.seed, purpose, step, index, (2, 1, 1))


def train_toy(
    name: str,
    schedule: Schedule,
    seed: int,
    steps: int,
    track: Callable[[Iterable[int], str], Iterable[Any]] = lambda things, what: things,  # noqa: ARG005
) -> Toy:
    """Train on a density by L_simple (Ho et al. 2020, algorithm 1) with Adam, its rate falling to 0 by a half cosine.

    Args:
        schedule: variance preserving, on the CPU.
        seed: of weights, points, times and noise.
        steps: of the optimizer.
        track: wraps the loop, for a progress bar.
    """
    net = ToyNet()
    init_weights(net, seed)
    with one_thread():
        descend(net, name, schedule, seed, steps, track)
    return Toy(net.eval().requires_grad_(False), schedule, seed)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core: for so small a net, waiting for others costs more than they do, and bytes depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def descend(
    net: ToyNet,
    name: str,
    schedule: Schedule,
    seed: int,
    steps: int,
    track: Callable[[Iterable[int], str], Iterable[Any]],
) -> None:
    """The loop of `train_toy`."""
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    index = torch.arange(steps * BATCH)  # all at once: drawing batch by batch takes longer than training
    x0, t = draw(name, seed, index), uniform(seed, 0, index, schedule.T)
    eps = randomness.normal(seed, "noise", 0, index, (2, 1, 1))
    for step in track(range(steps), "training steps"):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        part = slice(step * BATCH, (step + 1) * BATCH)
        loss = denoising_loss(schedule, OBJECTIVE, net, x0[part], t[part], eps[part]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
