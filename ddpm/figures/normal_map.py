"""A reverse process on a line whose mean and variance are learned, beside the closed form.

p(x_{t-1} | x_t) = N(mean(x_t), var(x_t)), as in the first diffusion models (Sohl-Dickstein et al. 2015, sec. 2.2).
Here a least squares fit learns both at each step: straight lines for a normal, bent ones for a mixture of two.

\b
Example:
  python -m ddpm figure normal-map --mean -1 --std 0.3 --out work/normal-map.png
"""

from dataclasses import dataclass

import torch
from PIL import Image

from ddpm.diffusion.mixture import Mixture
from ddpm.diffusion.schedule import Schedule, linear
from ddpm.drawing.mapping import Mapping, mappings
from ddpm.engine.transitions import learn_transitions, run_back
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

PAIRS, POINTS = 10_000, 4_000
KNOTS = 32  # of the bent lines; two make straight ones
SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
TWO = Mixture((0.35, 0.65), (-1.5, 1.0), (0.25, 0.35))


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    mean: float = option(1.5, "Of the normal.", least=-3, most=3)
    std: float = option(0.4, "Standard deviation of the normal.", least=0.05, most=2)
    steps: int = option(50, "T; the betas of Ho et al. times 1000 / T.", least=25, most=1000)


def draw(material: Material, options: Options) -> Image.Image:
    """The normal above, a mixture of two normals below; nothing of the material is read."""
    factor = 1000 / options.steps
    schedule = linear(options.steps, 1e-4 * factor, 0.02 * factor)
    seed = material.figures.seed
    one = Mixture((1.0,), (options.mean,), (options.std,))
    return mappings(
        [
            mapped(f"One normal: mean {options.mean:g}, std {options.std:g}", one, 2, schedule, seed),
            mapped("Two normals: mean and variance bend with x_t", TWO, KNOTS, schedule, seed),
        ]
    )


def mapped(title: str, data: Mixture, num_knots: int, schedule: Schedule, seed: int) -> Mapping:
    """Learn a reverse process, run it, and put the closed form beside it."""
    path = run_back(learn_transitions(schedule, data, seed, PAIRS, num_knots), seed, POINTS)
    marginals = [data.noised(scales) for scales in schedule.path(range(schedule.T + 1))]
    shares = torch.tensor(SHARES, dtype=torch.float64)
    exact = torch.stack([marginal.quantiles(shares) for marginal in marginals])
    reach = 3.6 * max(1.0, data.std)
    x = torch.linspace(min(-reach, data.mean - reach), max(reach, data.mean + reach), 400, dtype=torch.float64)
    x = x.clamp(-4.2, 4.2)
    apart = float((path[0].quantile(shares) - exact[0]).abs().max())
    said = (
        f"made: mean {path[0].mean():.2f}, std {path[0].std():.2f}; data: {data.mean:.2f}, {data.std:.2f}; "
        f"quantiles within {apart:.2f}"
    )
    start, end = marginals[-1].density(x), data.density(x)
    return Mapping(title, said, path.numpy(), SHARES, exact.numpy(), *(values.numpy() for values in (x, start, end)))


FIGURE = Figure(
    caption=(
        "Noise on the left becomes data on the right. Each step draws from a normal whose mean and variance were "
        "learned from pairs; the quantiles bend from N(0, 1) to the data and meet the closed form. With small steps, "
        "normals are enough even for two humps: where x_t lies between them, the learned mean bends."
    ),
    options=Options,
    draw=draw,
    needs=(),
)
