"""Classifier-free guidance (Ho & Salimans 2022, eq. 6, with scale = 1 + w): one noise, several scales.

output = unconditional + scale (conditional - unconditional). Scale 0 ignores the label, 1 is the conditional net; the
higher the scale, the clearer the class, and the fewer ways there are to show it. `sample.guidance_interval` holds.

\b
Example:
  python -m ddpm figure guidance --scales 0,1,3,9 --images 10 --out work/guidance.png
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ddpm.drawing.labeled import labeled
from ddpm.engine.batches import to_pixels
from ddpm.engine.sample import labels_of
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    scales: tuple[float, ...] = option((0.0, 1.0, 2.0, 4.0, 8.0), "Guidance scales; a row each.", least=0)
    images: int = option(10, "Columns; column i shows class i, and begins anew after the last one.", least=1)


def draw(material: Material, options: Options) -> Image.Image:
    """Rows are scales; all images of a column start from the same noise, and get the same noise on the way."""
    if not options.scales:
        raise ValueError("--scales must name at least one scale, such as 0,2, got none")
    checkpoint = material.checkpoint
    if not (checkpoint.model.num_classes and checkpoint.objective.label_dropout):
        raise ValueError(
            f"{material.places.checkpoint}: guidance needs a net with classes trained with label dropout, got "
            f"num_classes {checkpoint.model.num_classes} and label_dropout {checkpoint.objective.label_dropout:g}; "
            "train one with objective.label_dropout=0.1"
        )
    index = material.numbers(options.images)
    labels = labels_of(checkpoint, index)
    assert labels is not None
    rows = []
    with torch.inference_mode():
        for scale in material.track(options.scales, "scales"):
            reverse = material.reverse(guidance_scale=scale)
            for state in reverse.walk(reverse.prior(index), index, labels):
                x = state.x_s
            rows.append(to_pixels(x).cpu().numpy())
    return labeled(
        np.stack(rows),
        material.figures.zoom,
        [f"scale {scale:g}" for scale in options.scales],
        [f"class {label}" for label in labels.tolist()],
        "Guidance: rows share their noise",
    )


FIGURE = Figure(
    caption=(
        "Samples from the same noise at several guidance scales. At 0 the net ignores the class, at 1 it is "
        "conditional, and above it exaggerates what is typical of the class, in the end at the cost of realism."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample"),
)
