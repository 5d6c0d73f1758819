"""Points in the plane, diffused and generated back by a small net that trains while you wait, with its score field.

The net is trained by L_simple (Ho et al. 2020, eq. 14); the arrows are its score -eps_hat / sqrt(1 - alpha_bar_t), the
direction in which points become likelier (Song & Ermon 2019). Schedule, loss and samplers are those of images.

\b
Example:
  python -m ddpm figure toy --density moons --sampler ddpm --out work/moons.gif --out work/moons.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm.diffusion.process import q_sample
from ddpm.diffusion.samplers.steps import trailing
from ddpm.diffusion.schedule import linear
from ddpm.drawing.animation import Animation
from ddpm.drawing.plane import Field, Story, grid_of_places, story
from ddpm.engine.toy import Toy, one_thread, train_toy
from ddpm.engine.toy import draw as draw_points
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.metrics.energy import energy_distance

T = 100
POINTS, MEASURED = 700, 2000
PLACES = 19  # arrows along each side
FRAMES_IN, FRAMES_OUT = 14, 24  # of the way into noise, and of the way out
STORY_SHARE = 0.2  # of T: the field in the still


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    density: Literal["spiral", "moons", "checkerboard"] = option("spiral", "Where the points come from.")
    sampler: Literal["ddim", "ddpm"] = option("ddim", "How they come back: ddim without noise, ddpm with it.")
    training_steps: int = option(1000, "Optimizer steps of 512 points each.", least=1, most=100_000)
    sampling_steps: int = option(T, "Steps from noise to data.", least=2, most=T)


def draw(material: Material, options: Options) -> Animation:
    """Train, noise, generate, and measure the distance; of the material only the seed is read."""
    factor = 1000 / T
    schedule = linear(T, 1e-4 * factor, 0.02 * factor)
    seed = material.figures.seed
    toy = train_toy(options.density, schedule, seed, options.training_steps, material.track)
    with torch.inference_mode(), one_thread():
        return story(told(toy, options))


def told(toy: Toy, options: Options) -> Story:
    """What the picture shows, as arrays."""
    index = torch.arange(MEASURED)
    data, others = (draw_points(options.density, toy.seed, index, purpose) for purpose in ("shown", "compared"))
    eps = toy.prior(index[:POINTS])
    forward = []
    for k in range(FRAMES_IN):
        t = round(T * k / (FRAMES_IN - 1))
        forward.append((t, flat(q_sample(toy.schedule, data[:POINTS], torch.full((POINTS,), t), eps))))
    steps = trailing(toy.schedule, options.sampling_steps)
    states = list(toy.walk(index, options.sampler, steps))
    places = torch.from_numpy(grid_of_places(PLACES)).float()
    starts = [toy.prior(index), *(state.x_s for state in states)]
    seen = sorted({round(k * (len(states) - 1) / (FRAMES_OUT - 1)) for k in range(FRAMES_OUT)})
    back = [
        Field(
            int(steps[k]),
            flat(starts[k][:POINTS]),
            flat(states[k].x0_hat[:POINTS]),
            flat(toy.score(places[:, :, None, None], int(steps[k]))),
        )
        for k in seen
    ]
    made = states[-1].x_s
    distance, floor, noise = (energy_distance(flat(x), flat(data)) for x in (made, others, toy.prior(index)))
    return Story(
        data=flat(data[:POINTS]),
        forward=forward,
        back=back,
        generated=flat(made[:POINTS]),
        places=places.numpy(),
        chosen=min(range(len(back)), key=lambda number: abs(back[number].t - STORY_SHARE * T)),
        said=(
            f"Energy distance of {MEASURED} generated points to data: {distance:.4f}\n"
            f"(data to other data: {floor:.4f}, noise to data: {noise:.4f})"
        ),
        T=T,
    )


def flat(points: torch.Tensor) -> NDArray[np.float32]:
    """(batch, 2, 1, 1) as an array (batch, 2)."""
    return points.flatten(1).numpy()


FIGURE = Figure(
    caption=(
        "Points lose their place in noise (2) and find it again (3, 4): at every step they follow the score, the "
        "arrows, which a small net learned from noised points alone. The energy distance says how close they come to "
        "the data; it is about 0 between two draws of the data itself."
    ),
    options=Options,
    draw=draw,
    needs=(),
    moving=True,
)
