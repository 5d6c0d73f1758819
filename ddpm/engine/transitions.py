"""A reverse process on a line whose mean and variance are learned, one small regression a step and no net.

p(x_s | x_t) = N(mean(x_t), var(x_t)) with s = t - 1 (Sohl-Dickstein et al. 2015, section 2.2), where mean and var are
piecewise linear in x_t and fitted by least squares to pairs (x_t, x_s) of the forward process.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.mixture import Mixture
from ddpm.diffusion.process import posterior
from ddpm.diffusion.schedule import Schedule

LEAST_VAR = 1e-8
REACH = 3.5
"""Standard deviations between the middle of x_t and the outermost knots; beyond, the lines go on."""

Points = Float[Tensor, " batch"]


class Transition(NamedTuple):
    """One learned reverse step: mean and variance of x_s at the knots of x_t, linear in between."""

    knots: Float[Tensor, " knots"]
    mean: Float[Tensor, " knots"]
    var: Float[Tensor, " knots"]

    def __call__(self, x_t: Points) -> tuple[Points, Points]:
        """(mean, variance) of x_s."""
        basis = hats(x_t, self.knots)
        return basis @ self.mean, (basis @ self.var).clamp(min=LEAST_VAR)


def hats(x: Points, knots: Float[Tensor, " knots"]) -> Float[Tensor, "batch knots"]:
    """Weights with which values at evenly spaced knots are interpolated at x; beyond the ends, extrapolated."""
    width = knots[1] - knots[0]
    left = ((x - knots[0]) / width).floor().long().clamp(0, len(knots) - 2)
    right_share = (x - knots[left]) / width
    basis = x.new_zeros(len(x), len(knots))
    basis.scatter_(1, left[:, None], (1 - right_share)[:, None])
    basis.scatter_(1, left[:, None] + 1, right_share[:, None])
    return basis


def learn_transitions(schedule: Schedule, data: Mixture, seed: int, num_pairs: int, num_knots: int) -> list[Transition]:
    """Learn the reverse step at t = 1..T, in this order, each from the same x0 and noise.

    Args:
        schedule: a process with standard normal x_T; on the CPU.
        data: where x0 comes from.
        seed: of x0 and noise.
        num_pairs: of each step.
        num_knots: at least 2; 2 make straight lines, which is all that a normal needs.
    """
    index, scales = torch.arange(num_pairs), schedule.path(range(schedule.T + 1))
    x0 = draw(data, seed, index)
    eps, z = randomness.normal(seed, "pairs of a line", 0, index, (2,)).double().unbind(dim=1)
    learned = []
    for t in range(1, schedule.T + 1):
        x_t = scales[t].signal * x0 + scales[t].noise * eps
        q = posterior(scales[t], scales[t - 1])
        x_s = q.x0_weight * x0 + q.x_t_weight * x_t + q.var**0.5 * z
        knots = x_t.mean() + REACH * x_t.std() * torch.linspace(-1, 1, num_knots, dtype=torch.float64)
        basis = hats(x_t, knots)
        mean = fit(basis, x_s)
        learned.append(Transition(knots, mean, fit(basis, (x_s - basis @ mean).square())))
    return learned


def draw(data: Mixture, seed: int, index: Tensor) -> Points:
    """One x0 for each number, float64: a part by its weight, then a normal."""
    which = randomness.uniform(seed, "part of a mixture", 0, index, 1)[:, 0]
    part = torch.bucketize(which, torch.tensor(data.weights, dtype=torch.float64).cumsum(dim=0)[:-1])
    means, stds = (torch.tensor(values, dtype=torch.float64) for values in (data.means, data.stds))
    return means[part] + stds[part] * randomness.normal(seed, "place in a part", 0, index, ()).double()


def fit(basis: Float[Tensor, "batch knots"], values: Points) -> Float[Tensor, " knots"]:
    """Least squares, with so little ridge that only knots without points feel it: they continue their neighbors."""
    bend = torch.diff(torch.eye(basis.shape[1], dtype=basis.dtype), n=2, dim=0)  # second differences
    gram = basis.T @ basis + 1e-4 * len(values) * (bend.T @ bend)
    solved: Tensor = torch.linalg.solve(gram, basis.T @ values)
    return solved


def run_back(transitions: list[Transition], seed: int, num_points: int) -> Float[Tensor, "steps batch"]:
    """Points from N(0, 1) down the learned steps; row t of T + 1 is x_t, so the last draw stands first."""
    index = torch.arange(num_points)
    x = randomness.normal(seed, "x_T of a line", 0, index, ()).double()
    path = [x]
    for t in range(len(transitions), 0, -1):
        mean, var = transitions[t - 1](x)
        x = mean + var.sqrt() * randomness.normal(seed, "reverse noise of a line", t, index, ()).double()
        path.append(x)
    return torch.stack(path[::-1])
