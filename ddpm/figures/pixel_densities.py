"""The values of all pixels of some training images, turning into N(0, 1) (Ho et al. 2020, eq. 4).

x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, with one eps for each pixel at all t

\b
Example:
  python -m ddpm figure pixel-densities --kind cosine --out work/densities.webp --out work/densities.mp4
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ddpm import randomness
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.drawing.animation import Animation
from ddpm.drawing.densities import Moment, densities
from ddpm.engine.batches import to_images, to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

T = 1000
SHOWN_IMAGES = 4


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    kind: Literal["linear", "quadratic", "cosine", "sigmoid"] = option("linear", "Schedule, with T = 1000.")
    images: int = option(64, "How many training images, at most; the first ones.", least=SHOWN_IMAGES, most=4096)
    frames: int = option(36, "How many steps t are shown.", least=3, most=200)


def draw(material: Material, options: Options) -> Animation:
    """Steps close to each other where little noise changes much, wider apart later; the still is a third of the way."""
    images = material.train.images
    schedule = SCHEDULES[options.kind](T, 1e-4, 0.02)
    cpu = torch.device("cpu")
    pixels = torch.from_numpy(np.stack([np.asarray(images[i]) for i in range(min(options.images, len(images)))]))
    x0 = to_images(pixels, cpu, torch.contiguous_format)
    index = torch.arange(len(x0))
    eps = randomness.normal(material.figures.seed, "pixel densities", 0, index, tuple(x0.shape[1:]))
    times = sorted({round(T * (k / (options.frames - 1)) ** 1.5) for k in range(options.frames)})
    moments = []
    for t in times:
        x_t = q_sample(schedule, x0, torch.full((len(x0),), t), eps)
        tiles = to_pixels(x_t[:SHOWN_IMAGES]).numpy()
        moments.append(Moment(t, x_t.double().flatten().numpy(), tiles, float(schedule.signal_scale[t])))
    return densities(moments, still=len(moments) // 3)


FIGURE = Figure(
    caption=(
        "At t = 0 pixel values lie in [-1, 1], many at its ends. Noise spreads and the shrinking signal centers them, "
        "until nothing tells them from N(0, 1), the curve, from which sampling starts."
    ),
    options=Options,
    draw=draw,
    needs=("train",),
    moving=True,
)
