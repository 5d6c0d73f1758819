"""The training curve: loss, held-out loss, gradient norm and learning rate over the steps.

\b
Example:
  python -m ddpm figure loss --curve results/train.csv --out work/loss.png
"""

from PIL import Image

from ddpm.drawing.curves import loss_curve
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import NoOptions


def draw(material: Material, options: NoOptions) -> Image.Image:  # noqa: ARG001
    """The rows of results/train.csv."""
    return loss_curve(material.curve)


FIGURE = Figure(
    caption=(
        "Loss of the training batches and of held-out images, the latter also by quarters of t: what is easy at much "
        "noise is hard at little. Below, the norm of the gradient before clipping, and the learning rate."
    ),
    options=NoOptions,
    draw=draw,
    needs=("curve",),
)
