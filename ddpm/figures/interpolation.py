"""Two real images, noised to t, mixed at weights w from 0 to 1, and denoised; each pair is a row.

x_t of the mix = (1 - w) x_t + w x_t' (Ho et al. 2020, section 4.4 and figure 8), or on a great circle (Song et al.
2021, DDIM, app. D.5). With shared noise the mix is just as noisy as the two. With noise of their own a linear mix loses
noise, down to 0.71 of its standard deviation at w = 0.5, and comes out smoother; the great circle keeps the size.

A net with classes that was trained with label dropout is told no label, and is not guided. With `--labels nearer` it
is told the label of the nearer source, of the left one at w = 0.5: in the middle the image then changes at once.

\b
Example:
  python -m ddpm figure interpolation --images 0,7 --t 400 --path spherical --out work/interpolation.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ddpm.drawing.between import between
from ddpm.engine.batches import to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.mixed import LABELS_HELP, mix, mixing_for, require_pairs, require_time, reverse_for
from ddpm.figures.options import option

PURPOSE = "interpolation"
SHARE = 0.3
"""Of T, where --t is 0; right for the 256 pixels of Ho et al., while small images keep little of themselves there."""


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    images: tuple[int, ...] = option((0, 1, 4, 9), "Training images; two by two they are the ends of a row.", least=0)
    t: int = option(0, "Step at which they are mixed; 0: 0.3 T.", least=0)
    path: Literal["linear", "spherical"] = option("linear", "How x_t of the two are mixed.")
    noise: Literal["shared", "independent"] = option("shared", "Noise both by one eps, or each by its own.")
    labels: Literal["auto", "nearer", "none"] = option("auto", LABELS_HELP)
    mixes: int = option(10, "How many, at even weights from 0 to 1.", least=2)


def draw(material: Material, options: Options) -> Image.Image:
    """Source | mixes | source, one row for each pair; the sampler is that of the section `sample`."""
    require_pairs(options.images)
    mixing = mixing_for(material.checkpoint, options.path, options.noise, options.labels, options.mixes)
    reverse = reverse_for(material, mixing)
    t = options.t or round(SHARE * reverse.schedule.T)
    require_time("--t", t, reverse.schedule.T)
    x0, labels = material.images(material.train, options.images)
    rows = [
        mix(reverse, x0[i : i + 2], None if labels is None else labels[i : i + 2], t, i // 2, mixing, PURPOSE)
        for i in material.track(range(0, len(x0), 2), "rows")
    ]
    sources = to_pixels(x0).cpu().numpy()
    return between(
        sources[::2],
        np.stack(rows),
        sources[1::2],
        mixing.weights,
        material.figures.zoom,
        caption=f"Noised to t = {t}, {mixing.text}",
    )


FIGURE = Figure(
    caption=(
        "Outside, two real images; between them, what the net makes of mixes of the two, noised to t and mixed at the "
        "weight over the column. At 0 and 1 stands what it makes of one source alone: the larger t, the less like it."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample", "train"),
)
