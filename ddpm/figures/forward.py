"""Real images on their way into noise: x_t = signal_scale x0 + noise_scale eps at chosen steps (Ho et al. 2020, eq. 4).

\b
Example:
  python -m ddpm figure forward --times 0,100,300,1000 --out work/forward.png
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddpm.drawing.strips import strip
from ddpm.engine.batches import to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.figures.shown import shown_sizes

SHARES = (0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Where the strip stops, as shares of T: 0, 10, 50, ... for T = 1000."""


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    times: tuple[int, ...] = option((), "Steps t to show, 0 is the image; none: twelve from 0 to T.", least=0)


def draw(material: Material, options: Options) -> Image.Image:
    """figures.strip_images images of the train split, one noise each."""
    reverse = material.reverse()
    T = reverse.schedule.T
    times = list(options.times) or sorted({round(share * T) for share in SHARES})
    if max(times) > T:
        raise ValueError(f"--times must be at most T = {T}, got {max(times)}")
    x0, _ = material.images(material.train, range(material.figures.strip_images))
    index = material.numbers(len(x0))
    noised = [reverse.noised(x0, t, index) for t in times]
    frames = [
        to_pixels(x_t / size).cpu().numpy() for x_t, size in zip(noised, shown_sizes(reverse, times), strict=True)
    ]
    return strip(np.stack(frames), times, material.figures.zoom, "x_t: data into noise")


FIGURE = Figure(
    caption="Training images lose their signal step by step; what is left at T is noise, and the start of sampling.",
    options=Options,
    draw=draw,
    needs=("checkpoint", "train"),
)
