"""A masked part of real images, filled in several times by the same net, which was trained on whole images only.

After each reverse step the known part is replaced by the noised truth (Song et al. 2021, Score-SDE, section 5 and app.
I.2). With more than one pass, x_s is noised back to t and the step repeated, so that both parts come to agree (RePaint,
Lugmayr et al. 2022, algorithm 1, with jumps of one step). Steps are ancestral (DDIM with eta 1), as many as
`sample.steps`, whatever the sampler of the section is; guidance is that of the section.

\b
Example:
  python -m ddpm figure inpainting --mask half --resampling 10 --out work/inpainting.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddpm import randomness
from ddpm.drawing.labeled import labeled
from ddpm.engine.batches import to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

RANDOM_SHARE = 0.6  # of the pixels that `random` hides


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    images: tuple[int, ...] = option((0, 1, 2, 3, 4, 5, 6, 7), "Numbers of the images.", least=0)
    split: Literal["valid", "train"] = option("valid", "Whose images they are.")
    mask: Literal["center", "half", "frame", "random"] = option(
        "center", "What is hidden: the middle, the lower half, all but the middle, or 60 % of the pixels."
    )
    resampling: int = option(4, "Passes at each step (RePaint); 1: replacement alone.", least=1)
    fills: int = option(3, "Fills of each image.", least=1)


def draw(material: Material, options: Options) -> Image.Image:
    """Rows: original, masked, fills; a column is an image."""
    split = material.train if options.split == "train" else material.held_out
    if not options.images:
        raise ValueError("--images must name at least one image, such as 0,1, got none")
    x0, labels = material.images(split, options.images)
    reverse = material.reverse()
    known = known_pixels(options.mask, x0.shape[2], x0.shape[3], material.figures.seed).to(x0.device)
    count, total = len(x0), len(x0) * options.fills
    many = x0.repeat(options.fills, 1, 1, 1)
    told = None if labels is None else labels.repeat(options.fills)
    with torch.inference_mode():
        states = reverse.fill(many, known, material.numbers(total), told, options.resampling)
        for _ in material.track(range(len(reverse.steps()) - 1), "steps"):
            x = next(states).x_s
    rows = [x0, torch.where(known, x0, 0.0), *(x[k : k + count] for k in range(0, total, count))]
    names = ["original", "masked", *(f"fill {k}" for k in range(1, options.fills + 1))]
    tiles = np.stack([to_pixels(row).cpu().numpy() for row in rows])
    steps = len(reverse.steps()) - 1
    caption = f"Filled in: mask {options.mask}, {steps} steps, {options.resampling} passes at each"
    return labeled(tiles, material.figures.zoom, names, caption=caption)


def known_pixels(mask: str, height: int, width: int, seed: int) -> Tensor:
    """(height, width) bool, True where the net is told the truth.

    Args:
        mask: `center` hides the middle half of both sides, `half` the lower half, `frame` all but the middle half of
            both sides, `random` RANDOM_SHARE of all pixels.
        seed: of `random`.
    """
    if mask == "random":
        index = torch.arange(height)
        return randomness.uniform(seed, "inpainting: mask", 0, index, width) >= RANDOM_SHARE
    known = torch.ones(height, width, dtype=torch.bool)
    if mask == "half":
        known[(height + 1) // 2 :] = False
        return known
    known[height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    return ~known if mask == "frame" else known


FIGURE = Figure(
    caption=(
        "Real images, the part of them that the net is told (the rest is grey), and several ways in which it fills in "
        "the rest. What is known is the same in all rows but the second, pixel for pixel."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample", "train", "held_out"),
)
