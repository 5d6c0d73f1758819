"""The prepared images at a glance: a row for each class, or a sheet where there are no classes.

It is the card of `python -m ddpm data describe`, which also says in words what the images are and where they are from.

\b
Example:
  python -m ddpm figure data --split valid --images 40 --out work/data.png
"""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from ddpm.engine.describe import card, open_prepared
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    split: Literal["train", "valid"] = option("train", "Whose images are shown.")
    images: int = option(84, "Images, at most, but one per class; 0: a full picture.", least=0, most=500)


def draw(material: Material, options: Options) -> Image.Image:
    """Images that figures.seed chose."""
    prepared = open_prepared(material.places.data, options.split)
    picture, _ = card(prepared, options.images or None, material.figures.seed)
    return picture


FIGURE = Figure(
    caption=(
        "What the net is trained on: images as they were prepared, none picked by eye, with the size and the share "
        "of each class where there are classes."
    ),
    options=Options,
    draw=draw,
    needs=("train",),
)
