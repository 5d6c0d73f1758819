"""The loss at each noise level, on training and on held-out images: where a net errs, and where it knows by heart.

The mean of |eps - eps_hat|^2 over pixels (Ho et al. 2020, eq. 14), whatever the net predicts; and the loss that
training minimized, where that is another one. Both sets see the same t and the same noise, image by image, so that
what lies between the curves is due to the images.

\b
Example:
  python -m ddpm figure loss-by-time --bins 10 --images 200 --out work/loss_by_time.png
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.drawing.loss_by_time import Measured, loss_by_time
from ddpm.engine.loss_by_time import Bin, Losses, is_plain, losses_in_bins, time_bins
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

USUAL_BINS = 20


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    bins: int = option(0, "Parts of 1..T; 0: twenty, or T where T is smaller.", least=0)
    images: int = option(64, "Images of each split, at most; each is looked at once in every bin.", least=2)


def draw(material: Material, options: Options) -> Image.Image:
    """Images of each split, drawn from all of it."""
    checkpoint, schedule = material.checkpoint, material.schedule
    if options.bins > schedule.T:
        raise ValueError(f"--bins must be at most T = {schedule.T}, got {options.bins}")
    bins = time_bins(schedule, options.bins or min(USUAL_BINS, schedule.T))
    splits = {"training images": material.train, "held-out images": material.held_out}
    splits = {name: split for name, split in splits.items() if len(split.images)}
    count = min(options.images, *(len(split.images) for split in splits.values()))
    if count < 2:
        raise ValueError(f"{material.places.data}: must hold at least 2 images in each split, got {count}")
    measured = {name: measure(material, split, count, bins) for name, split in material.track(splits.items(), "splits")}
    panels = [panel_of("eps", "Error of the predicted noise", "mean squared error of eps", measured)]
    if not is_plain(checkpoint):
        objective = checkpoint.objective
        unit = "bits/dim" if objective.weighting == "vlb" else "loss"
        title = f"What training minimizes: target {objective.target}, weighting {objective.weighting}"
        panels.append(panel_of("objective", title, unit, measured))
    return loss_by_time(panels, [(bin.low + bin.high) / 2 for bin in bins], schedule.T)


def measure(material: Material, split: Split, count: int, bins: list[Bin]) -> list[Losses]:
    """The losses of `count` images in each bin."""
    material.images(split, [0])  # refuses those of another shape
    seed = material.figures.seed
    order = randomness.permutation(seed, "loss by time: images", 0, len(split.images)).numpy()
    return losses_in_bins(material.checkpoint, split, order[:count], bins, seed, material.device)


def panel_of(which: str, title: str, unit: str, measured: dict[str, list[Losses]]) -> Measured:
    """One of the two losses of all sets."""
    losses = {name: np.stack([getattr(one, which) for one in some]) for name, some in measured.items()}
    return Measured(title, unit, losses)


FIGURE = Figure(
    caption=(
        "The loss over the noise level: almost nothing but noise is easy to predict, a little noise is hard. Where the "
        "curve of held-out images lies above that of training images beyond the bands, the net has learned its "
        "training images by heart."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "train", "held_out"),
)
