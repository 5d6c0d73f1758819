"""Samples on their way out of noise: x_t above, and below what the net believes x0 to be.

\b
Example:
  python -m ddpm figure denoising -S figures.strip_columns=6 --out work/denoising.png
"""

import numpy as np
import torch
from PIL import Image

from ddpm.drawing.sheets import above_each_other
from ddpm.drawing.strips import strip
from ddpm.engine.batches import to_pixels
from ddpm.engine.sample import labels_of
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import NoOptions
from ddpm.figures.shown import shown_sizes


def draw(material: Material, options: NoOptions) -> Image.Image:  # noqa: ARG001
    """figures.strip_images new samples at figures.strip_columns evenly spaced steps of their trajectories."""
    chosen, reverse = material.figures, material.reverse()
    index = material.numbers(chosen.strip_images)
    x_T = reverse.prior(index)
    with torch.inference_mode():
        states = list(reverse.walk(x_T, index, labels_of(material.checkpoint, index)))
    steps = [reverse.steps()[0], *(state.s for state in states)]
    noisy = [
        x / size for x, size in zip([x_T, *(state.x_s for state in states)], shown_sizes(reverse, steps), strict=True)
    ]
    beliefs = [states[0].x0_hat, *(state.x0_hat for state in states)]
    picked = np.linspace(0, len(steps) - 1, chosen.strip_columns).round().astype(int)
    labels = [round(steps[i]) for i in picked]
    rows = [
        strip(np.stack([to_pixels(images[i]).cpu().numpy() for i in picked]), labels, chosen.zoom, caption)
        for images, caption in (
            (noisy, "x_t: noise into data"),
            (beliefs, "x0_hat: what the net predicts on the way"),
        )
    ]
    return above_each_other(rows)


FIGURE = Figure(
    caption=(
        "Each row of the upper half starts as noise and ends as a sample. The lower half shows the clean image that "
        "the net predicts at that step: first an average of all images, then ever more of one."
    ),
    options=NoOptions,
    draw=draw,
    needs=("checkpoint", "sample"),
)
