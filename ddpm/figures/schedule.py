"""The noise schedule of a checkpoint: beta, alpha_bar, the scales of signal and noise, and log-SNR over t.

\b
Example:
  python -m ddpm figure schedule --checkpoint data/weights/ema.safetensors --out work/schedule.png
"""

from PIL import Image

from ddpm.drawing.curves import schedule_curves
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import NoOptions


def draw(material: Material, options: NoOptions) -> Image.Image:  # noqa: ARG001
    """The tables that the net was trained with."""
    return schedule_curves(material.schedule.alpha_bar.numpy(), material.schedule.beta.numpy())


FIGURE = Figure(
    caption=(
        "What each noising step adds, what is left of the signal after t of them, and the log of the ratio of signal "
        "to noise, by which schedules are compared."
    ),
    options=NoOptions,
    draw=draw,
    needs=("checkpoint",),
)
