"""Samples in reading order; of a net with 10 classes, column j of 10 shows class j.

\b
Example:
  python -m ddpm figure samples -S figures.grid_rows=4 -S figures.zoom=8 --out work/few.png
"""

from PIL import Image

from ddpm.drawing.grid import tile
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import NoOptions


def draw(material: Material, options: NoOptions) -> Image.Image:  # noqa: ARG001
    """The first figures.grid_rows x figures.grid_columns samples, each pixel a square of figures.zoom."""
    chosen = material.figures
    return tile(material.samples, chosen.grid_rows, chosen.grid_columns, chosen.zoom)


FIGURE = Figure(
    caption="The first samples in the order of their numbers, none picked. Each started from its own noise.",
    options=NoOptions,
    draw=draw,
    needs=("samples", "checkpoint", "sample", "metrics"),
)
