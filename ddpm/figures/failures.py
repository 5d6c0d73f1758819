"""What goes wrong with other noise: the same image and the same eps under the right process and three wrong ones.

Right is beta from 0.0001 to 0.02 (Ho et al. 2020, sec. 4): x_T is N(0, 1), and its signal is used up late. Wrong are
x_t = x_{t-1} + sqrt(beta_t) eps, whose variance grows, and a beta that is 0.01 or 0.0001 at every step.

\b
Example:
  python -m ddpm figure failures --image 3 --out work/failures.png
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ddpm import randomness
from ddpm.data.store import LazyImages
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.schedule import Schedule, from_beta, linear
from ddpm.drawing.failures import Row, failures
from ddpm.engine.batches import to_images, to_pixels
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

T = 1000
TIMES = (0, 50, 100, 200, 300, 400, 600, 800, 1000)
GONE = 0.05
"""Below this share of x0 nothing of it is seen."""
MEASURED_IMAGES = 256


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    image: int = option(0, "Number of the training image.", least=0)


def unscaled(beta: torch.Tensor) -> Schedule:
    """x_t = x_{t-1} + sqrt(beta_t) eps: the signal stays, variances add up."""
    added = torch.cat([beta.new_zeros(1), beta]).cumsum(dim=0)
    return Schedule(torch.ones_like(added), added.sqrt())


def processes() -> dict[str, Schedule]:
    """Title -> process."""
    right = linear(T, 1e-4, 0.02)
    return {
        "Right: beta from 0.0001 to 0.02": right,
        "Wrong: the same noise, signal not scaled down": unscaled(right.beta[1:]),
        "Wrong: beta 0.01 at every step": from_beta(torch.full((T,), 0.01)),
        "Wrong: beta 0.0001 at every step": from_beta(torch.full((T,), 0.0001)),
    }


def draw(material: Material, options: Options) -> Image.Image:
    """One strip a process, with its standard deviation and signal over t."""
    images, number = material.train.images, options.image
    if number >= len(images):
        raise ValueError(f"--image must be below {len(images)}, the number of training images, got {number}")
    x0 = load(images, [number])
    data_var = float(load(images, range(min(MEASURED_IMAGES, len(images)))).double().var())
    eps = randomness.normal(material.figures.seed, "failures", 0, torch.tensor([number]), tuple(x0.shape[1:]))
    rows = []
    for title, schedule in processes().items():
        x_t = torch.cat([q_sample(schedule, x0, torch.tensor([t]), eps) for t in TIMES])
        std = (schedule.signal_scale.square() * data_var + schedule.noise_scale.square()).sqrt().numpy()
        signal = schedule.signal_scale.numpy()
        rows.append(Row(title, verdict(schedule, float(std[-1])), to_pixels(x_t).numpy(), std, signal))
    return failures(rows, TIMES)


def load(images: LazyImages, numbers: "list[int] | range") -> torch.Tensor:
    """Some training images in [-1, 1] on the CPU."""
    pixels = torch.from_numpy(np.stack([np.asarray(images[i]) for i in numbers]))
    return to_images(pixels, torch.device("cpu"), torch.contiguous_format)


def verdict(schedule: Schedule, std: float) -> str:
    """What a process did, in numbers, on two lines."""
    signal, noise = schedule.signal_scale, schedule.noise_scale
    left = float(signal[-1])
    end = f"x_T: standard deviation {std:.2f} (should be 1), {100 * left:.0f} % of x0 (should be 0)."
    if left > GONE:
        return (
            f"{end}\nSampling never starts from such images: signal over noise is still {left / float(noise[-1]):.2g}."
        )
    gone = int((signal < GONE).nonzero()[0])
    return (
        f"{end}\nBelow {100 * GONE:g} % from t = {gone} on, in {100 * (T - gone) / T:.0f} % of the steps. "
        f"Noise of step 1: {float(noise[1]):.2g}."
    )


FIGURE = Figure(
    caption=(
        "Sampling starts from N(0, 1), so x_T must be that, and the way there should be gradual. Noise without scaling "
        "ends far too wide, a constant beta of 0.01 starts too coarsely and is done too soon, and with 0.0001 the "
        "image is still there at T. Values beyond black and white are cut in the strips, not in the curves."
    ),
    options=Options,
    draw=draw,
    needs=("train",),
)
