"""Figures: one file each, from a checkpoint, data and results to a picture. `python -m ddpm figure NAME` draws one.

A module holds a docstring, which is the help of its command, and a `FIGURE` (see `ddpm.figures.figure`).
"""

FIGURES = {
    "samples": "Samples in reading order.",
    "comparison": "Real images beside samples, with the distance between them.",
    "loss": "The training curve.",
    "schedule": "The noise schedule of a checkpoint.",
    "forward": "Real images on their way into noise.",
    "denoising": "Samples on their way out of noise, and what the net believes on the way.",
}
"""Name -> its title; the figure itself is ddpm/figures/<name>.py, `-` written as `_`."""
