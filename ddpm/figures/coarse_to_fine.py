"""The mixes of one pair of real images at falling t, from T to 0 (Ho et al. 2020, figure 9).

Noised to T, nothing is left of the two: with shared noise all mixes of one label are one new image. The less
noise, the finer is what the mixes keep of the sources; at t = 0 pixels are mixed and nothing is denoised. What is
mixed, and with which label, is as in `python -m ddpm figure interpolation --help`.

\b
Example:
  python -m ddpm figure coarse-to-fine --images 0,7 --rows 5 --out work/coarse_to_fine.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ddpm.drawing.between import between
from ddpm.engine.batches import to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.mixed import LABELS_HELP, mix, mixing_for, reverse_for
from ddpm.figures.options import option

PURPOSE = "coarse to fine"


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    images: tuple[int, ...] = option((0, 1), "The two training images.", least=0)
    rows: int = option(9, "How many t, evenly from T to 0; each is rounded to a whole step.", least=2)
    path: Literal["linear", "spherical"] = option("linear", "How x_t of the two are mixed.")
    noise: Literal["shared", "independent"] = option("shared", "Noise both by one eps, or each by its own.")
    labels: Literal["auto", "nearer", "none"] = option("auto", LABELS_HELP)
    mixes: int = option(10, "How many, at even weights from 0 to 1.", least=2)


def draw(material: Material, options: Options) -> Image.Image:
    """Source | mixes | source, one row for each t; eps is the same in all rows."""
    if len(options.images) != 2:
        raise ValueError(f"--images must name two, such as 0,1, got {len(options.images)} numbers")
    mixing = mixing_for(material.checkpoint, options.path, options.noise, options.labels, options.mixes)
    reverse = reverse_for(material, mixing)
    T = reverse.schedule.T
    times = [round(T * (options.rows - 1 - row) / (options.rows - 1)) for row in range(options.rows)]
    x0, labels = material.images(material.train, options.images)
    mixes = [mix(reverse, x0, labels, t, 0, mixing, PURPOSE) for t in material.track(times, "rows")]
    left, right = to_pixels(x0).cpu().numpy()
    return between(
        np.stack([left] * len(times)),
        np.stack(mixes),
        np.stack([right] * len(times)),
        mixing.weights,
        material.figures.zoom,
        [f"t = {t}" for t in times],
        caption=f"Noised to t, {mixing.text}",
    )


FIGURE = Figure(
    caption=(
        "Two real images are noised to t, mixed at the weight over the column, and denoised. From above, where noise "
        "has taken all and the net invents the image, to below, where nothing is denoised and only pixels are mixed."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample", "train"),
)
