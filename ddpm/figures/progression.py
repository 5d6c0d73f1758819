"""Samples on their way out of noise, moving: x_t beside what the net predicts x0 to be (Ho et al. 2020, figure 6).

Frames are chosen evenly from the states of the sampler: x_T and one for each of its `sample.steps` steps.

\b
Example:
  python -m ddpm figure progression --frames 0 -S sample.steps=250 --out work/progression.mp4 --out work/progression.gif
"""

from dataclasses import dataclass

import numpy as np
import torch

from ddpm.drawing.animation import Animation
from ddpm.drawing.progression import moment
from ddpm.engine.batches import to_pixels
from ddpm.engine.sample import labels_of
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.figures.shown import shown_sizes

HOLD_MILLISECONDS = 2000  # the finished images stay so long
LONGEST_MILLISECONDS = 160  # of any other frame


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    frames: int = option(100, "Frames, evenly in steps, as far as there are so many; 0: all.", least=0)
    rows: int = option(3, "Rows of images.", least=1)
    columns: int = option(5, "Columns of images.", least=1)
    seconds: float = option(6.0, "From the first frame to the last, where that is 20 to 160 ms a frame.", least=0.1)


def draw(material: Material, options: Options) -> Animation:
    """options.rows x options.columns new samples of the section `sample`, the last frame held."""
    if options.frames == 1:
        raise ValueError("--frames must be 0 for all or at least 2, got 1; --out FILE.png keeps the last one alone")
    reverse = material.reverse()
    index = material.numbers(options.rows * options.columns)
    x_T, steps = reverse.prior(index), reverse.steps()
    last = len(steps) - 1
    count = min(options.frames or last + 1, last + 1)
    picked = set(np.linspace(0, last, count).round().astype(int).tolist())
    frames = []

    def add(k: int, t: float, x_t: torch.Tensor, x0_hat: torch.Tensor) -> None:
        noisy, beliefs = (to_pixels(x).cpu().numpy() for x in (x_t / shown_sizes(reverse, [t])[0], x0_hat))
        texts = f"t = {t:.4g}", f"step {k} of {last}"
        frames.append(moment(noisy, beliefs, options.columns, material.figures.zoom, texts, k / last))

    with torch.inference_mode():
        states = reverse.walk(x_T, index, labels_of(material.checkpoint, index))
        for k in material.track(range(1, last + 1), "steps"):
            state = next(states)
            if k == 1:  # what the net believes at the first step is known only now
                add(0, steps[0], x_T, state.x0_hat)
            if k in picked:
                add(k, state.s, state.x_s, state.x0_hat)
    each = round(min(max(1000 * options.seconds / len(frames), 20), LONGEST_MILLISECONDS))
    return Animation(frames, [each] * (len(frames) - 1) + [HOLD_MILLISECONDS])


FIGURE = Figure(
    caption=(
        "Left, samples on their way from noise (t = T) to images (t = 0). Right, the clean images that the net "
        "predicts at the same time: first an average of all images, then ever more of one."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample"),
    moving=True,
)
