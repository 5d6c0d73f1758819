"""Many samples on their way out of noise: a row is a sample, a column a step t of its trajectory.

\b
Example:
  python -m ddpm figure denoising-matrix --rows 8 --show x0_hat --out work/denoising_matrix.png
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from ddpm.drawing.strips import strip
from ddpm.engine.batches import to_pixels
from ddpm.engine.reverse import Reverse
from ddpm.engine.sample import labels_of
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.figures.shown import shown_sizes
from ddpm.types import Images

HEADINGS = {
    "x_t": "x_t of {} samples, from noise (left) to data (right)",
    "x0_hat": "x0_hat: what the net takes the clean image to be at t, for {} samples",
}


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    rows: int = option(16, "Samples.", least=1)
    columns: int = option(16, "Times, spread evenly over the sampler's steps; fewer where it visits fewer.", least=2)
    show: Literal["x_t", "x0_hat"] = option("x_t", "The noisy images, or the clean ones that the net predicts.")


def draw(material: Material, options: Options) -> Image.Image:
    """The samples 0..rows - 1 of figures.seed, by the sampler of the section `sample`."""
    reverse = material.reverse()
    steps = reverse.steps() if options.show == "x_t" else reverse.steps()[:-1]
    columns = min(options.columns, len(steps))
    picked = set(np.linspace(0, len(steps) - 1, columns).round().astype(int).tolist())
    times, frames = [], []
    with torch.inference_mode():
        images = walked(reverse, material.numbers(options.rows), options.show)
        for k, (t, x) in enumerate(zip(steps, images, strict=True)):
            if k in picked:
                size = shown_sizes(reverse, [t])[0] if options.show == "x_t" else 1.0
                times.append(round(t))
                frames.append(to_pixels(x / size).cpu().numpy())
    return strip(np.stack(frames), times, material.figures.zoom, HEADINGS[options.show].format(options.rows))


def walked(reverse: Reverse, index: torch.Tensor, show: str) -> Iterator[Images]:
    """x_t at every step of a trajectory, or x0_hat at every step but the last, where there is nothing to predict."""
    x_T = reverse.prior(index)
    if show == "x_t":
        yield x_T
    for state in reverse.walk(x_T, index, labels_of(reverse.checkpoint, index)):
        yield state.x_s if show == "x_t" else state.x0_hat


FIGURE = Figure(
    caption="Each row is one sample, each column one step on its way from pure noise, left, to an image, right.",
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample"),
)
