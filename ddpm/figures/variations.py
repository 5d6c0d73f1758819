"""What is decided when: samples that share x_t, drawn from it several times (Ho et al. 2020, figure 7).

A trajectory is stopped at t, and the rest of the way is drawn anew, each time with other noise. This needs a random
reverse process. So the sampler is not the one of the section `sample`, which may be deterministic: it is `ddim` with
eta 1, or `ddpm`; steps, spacing, variance and guidance are those of the section.

\b
Example:
  python -m ddpm figure variations --numbers 3,4 --draws 6 --out work/variations.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ddpm.drawing.labeled import labeled
from ddpm.drawing.sheets import side_by_side
from ddpm.engine.batches import to_pixels
from ddpm.engine.reverse import Reverse
from ddpm.engine.sample import labels_of
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.mixed import require_time
from ddpm.figures.options import option
from ddpm.figures.shown import shown_sizes
from ddpm.types import Images, Indices, Labels

SHARES = (0.75, 0.5, 0.25, 0.0)
"""Of T, as in the paper."""
GAP = 24  # pixels between the blocks of two samples


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    numbers: tuple[int, ...] = option((0, 1), "Numbers of the samples; one block each.", least=0)
    times: tuple[int, ...] = option(
        (), "Steps t to share, each moved to the nearest visited one; none: 3/4, 1/2, 1/4 and 0 of T.", least=0
    )
    draws: int = option(4, "Draws from each shared x_t.", least=1)
    sampler: Literal["ddim", "ddpm"] = option("ddim", "What draws: ddim with eta 1, or ddpm.")


def draw(material: Material, options: Options) -> Image.Image:
    """A block for each sample: rows are t, x_t stands first, the draws beside it."""
    if not options.numbers:
        raise ValueError("--numbers must name at least one sample, such as 0,1, got none")
    reverse = material.reverse(sampler=options.sampler, eta=1.0)
    T = reverse.schedule.T
    require_time("--times", max(options.times, default=0), T)
    wanted = options.times or [share * T for share in SHARES]
    times = list(dict.fromkeys(min(reverse.steps(), key=lambda s: abs(s - t)) for t in wanted))
    index = torch.tensor(options.numbers, device=reverse.device)
    labels = labels_of(material.checkpoint, index)
    with torch.inference_mode():
        shared = on_the_way(reverse, index, labels, times)
        rows = [tiles(reverse, shared[t], t, index, labels, options.draws) for t in material.track(times, "rows")]
    names = ["x_t", *(f"draw {k}" for k in range(1, options.draws + 1))]
    blocks = [
        labeled(block, material.figures.zoom, [f"t = {t:.4g}" for t in times], names, f"sample {number}")
        for number, block in zip(options.numbers, np.stack(rows, axis=1), strict=True)
    ]
    return side_by_side(blocks, GAP)


def on_the_way(reverse: Reverse, index: Indices, labels: Labels | None, times: list[float]) -> dict[float, Images]:
    """x_t of one trajectory of each image at some of its times."""
    x_T = reverse.prior(index)
    found = {reverse.steps()[0]: x_T}
    for state in reverse.walk(x_T, index, labels):
        if state.s in times:
            found[state.s] = state.x_s
    return found


def tiles(
    reverse: Reverse, x_t: Images, t: float, index: Indices, labels: Labels | None, draws: int
) -> NDArray[np.uint8]:
    """x_t and what comes of it, uint8 (images, 1 + draws, height, width, channels); of t = 0 comes itself."""
    columns = [x_t / shown_sizes(reverse, [t])[0]]
    for k in range(draws):
        x = x_t
        if t > 0:
            for state in reverse.walk(x_t, index, labels, t=t, purpose=f"variations: draw {k} from t = {t:g}"):
                x = state.x_s
        columns.append(x)
    pixels: NDArray[np.uint8] = np.stack([to_pixels(x).cpu().numpy() for x in columns], axis=1)
    return pixels


FIGURE = Figure(
    caption=(
        "Left in each row, x_t of one trajectory; beside it, images drawn from this x_t with other noise on the rest "
        "of the way (DDIM with eta 1, or DDPM). What they share was decided before t, in what they differ, after it."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample"),
)
