"""Real images beside samples, with the distance between the two sets in the heading.

\b
Example:
  python -m ddpm figure comparison -S figures.grid_columns=8 --out work/comparison.png
"""

import numpy as np
from PIL import Image

from ddpm.drawing.comparison import real_and_generated
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material, headline
from ddpm.figures.options import NoOptions


def draw(material: Material, options: NoOptions) -> Image.Image:  # noqa: ARG001
    """Two grids of half of figures.grid_columns each."""
    chosen, images = material.figures, material.train.images
    columns = max(chosen.grid_columns // 2, 1)
    rows = min(chosen.grid_rows, len(images) // columns)
    captions = ("real", f"generated  {headline(material.metrics)}")
    real = np.asarray(images[: rows * columns])
    return real_and_generated(real, material.samples, rows, columns, chosen.zoom, captions)


FIGURE = Figure(
    caption="Left, the first images that the net was trained on; right, the first samples. The metric compares all.",
    options=NoOptions,
    draw=draw,
    needs=("samples", "train", "checkpoint", "sample", "metrics"),
)
