"""Image to image (SDEdit, Meng et al. 2022): a crude picture is noised to t, and the net denoises it.

x_t = signal_scale guide + noise_scale eps, then the reverse process from t. A low t keeps the guide with its flaws; a
high one gives an image as good as any sample that has little to do with it; what one wants lies in between. The
noise is the same for all t. With `--guide image` real images themselves are changed.

\b
Example:
  python -m ddpm figure image-to-image --guide blocks --times 300,500,700 --out work/image-to-image.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from ddpm.drawing.crude import CRUDE
from ddpm.drawing.labeled import labeled
from ddpm.engine.batches import to_images, to_pixels
from ddpm.engine.device import memory_format
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
"""Of T."""
PURPOSE = "image-to-image"


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    images: tuple[int, ...] = option((0, 1, 2, 3, 4), "Numbers of the images; a row each.", least=0)
    split: Literal["valid", "train"] = option("valid", "Whose images they are.")
    guide: Literal["strokes", "blocks", "image"] = option(
        "strokes", "What is noised: six flat colors, squares, or the image itself."
    )
    times: tuple[int, ...] = option((), "Steps t to noise to; none: seven from T / 10 to 4 T / 5.", least=1)


def draw(material: Material, options: Options) -> Image.Image:
    """Rows are images; columns are the image, its guide, and what comes of it for each t."""
    split = material.train if options.split == "train" else material.held_out
    if not options.images:
        raise ValueError("--images must name at least one image, such as 0,1, got none")
    reverse = material.reverse()
    T = reverse.schedule.T
    times = list(options.times) or sorted({max(1, round(share * T)) for share in SHARES})
    if max(times) > T:
        raise ValueError(f"--times must be at most T = {T}, got {max(times)}")
    x0, labels = material.images(split, options.images)
    sources = to_pixels(x0).cpu().numpy()
    guides = np.stack([CRUDE[options.guide](image) for image in sources])
    layout = memory_format(material.device, material.checkpoint.model.channels)
    guide, index = to_images(torch.from_numpy(guides), material.device, layout), material.numbers(len(x0))
    columns, names = [sources, guides], ["source", options.guide]
    if options.guide == "image":
        columns, names = [sources], ["source"]
    with torch.inference_mode():
        for t in material.track(times, "columns"):
            x = reverse.noised(guide, t, index, f"{PURPOSE}: eps")
            for state in reverse.walk(x, index, labels, t=t, purpose=f"{PURPOSE}: reverse noise"):
                x = state.x_s
            columns.append(to_pixels(x).cpu().numpy())
    names += [f"t = {t}" for t in times]
    caption = f"Image to image: {options.guide} noised to t of T = {T}, then denoised"
    return labeled(np.stack(columns, axis=1), material.figures.zoom, (), names, caption)


FIGURE = Figure(
    caption=(
        "Left, a real image and a crude version of it; then what the net makes of the crude one, noised to ever higher "
        "t. At low t it stays crude, at high t it becomes another image; in between it is both faithful and real."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample", "train", "held_out"),
)
