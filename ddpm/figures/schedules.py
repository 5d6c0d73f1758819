"""Noise schedules side by side: beta, alpha_bar, log-SNR, and the signal that x_T should not have (Lin et al. 2024).

`-zero` after a name shifts and stretches its signal so that x_T holds none (their algorithm 1).

\b
Example:
  python -m ddpm figure schedules --kinds linear,cosine,cosine-zero --out work/schedules.png
"""

from dataclasses import dataclass

from PIL import Image

from ddpm.diffusion.schedule import SCHEDULES, Schedule, zero_terminal_snr
from ddpm.drawing.schedules import Curve, overlaid
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option

ZERO = "-zero"


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    kinds: str = option(
        "linear,linear-zero,quadratic,cosine,sigmoid", "Schedules, by commas; -zero: without signal at T."
    )
    steps: int = option(1000, "T.", least=2)
    beta_1: float = option(1e-4, "First beta, of linear and quadratic.", least=0, most=1)
    beta_T: float = option(0.02, "Last beta, of linear and quadratic.", least=0, most=1)
    rescale: bool = option(False, "Multiply beta_1 and beta_T by 1000 / T.")


def draw(material: Material, options: Options) -> Image.Image:  # noqa: ARG001
    """The schedules in the order of their names; nothing of the material is read."""
    kinds = [kind.strip() for kind in options.kinds.split(",") if kind.strip()]
    return overlaid(
        [
            Curve(kind, schedule.alpha_bar.numpy(), schedule.beta.numpy())
            for kind, schedule in ((kind, named(kind, options)) for kind in kinds)
        ]
    )


def named(kind: str, options: Options) -> Schedule:
    """One schedule by its name.

    Raises:
        ValueError: there is none of that name, or its betas do not lie in (0, 1).
    """
    plain = kind.removesuffix(ZERO)
    if plain not in SCHEDULES:
        allowed = ", ".join(SCHEDULES)
        raise ValueError(f"--kinds must be some of {allowed}, each with or without {ZERO}, got {kind}")
    factor = 1000 / options.steps if options.rescale else 1.0
    first, last = options.beta_1 * factor, options.beta_T * factor
    if not 0 < first < last < 1:
        raise ValueError(f"--beta-1 and --beta-T must satisfy 0 < beta_1 < beta_T < 1, got {first:g} and {last:g}")
    schedule = SCHEDULES[plain](options.steps, first, last)
    return zero_terminal_snr(schedule) if kind.endswith(ZERO) else schedule


FIGURE = Figure(
    caption=(
        "Schedules differ in where they spend their steps: cosine and sigmoid keep signal for longer than linear. "
        "Sampling starts from pure noise, so what x_T still holds is a mismatch; -zero removes it."
    ),
    options=Options,
    draw=draw,
    needs=(),
)
