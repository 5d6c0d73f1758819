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
    "interpolation": "Two real images, mixed on their way through noise.",
    "coarse-to-fine": "Two real images, mixed at ever less noise.",
    "denoising-matrix": "Many samples on their way out of noise.",
    "variations": "Samples that share the first part of their way out of noise.",
    "data": "The prepared images at a glance.",
    "neighbors": "Samples beside their nearest training images, and whether they are copies.",
    "loss-by-time": "The loss at each noise level, on training and on held-out images.",
    "progression": "Samples on their way out of noise, moving.",
    "inpainting": "A masked part of real images, filled in several times.",
    "image-to-image": "Crude pictures made real: noised to several t, and denoised.",
    "guidance": "The same noise at several guidance scales.",
    "metric-by-steps": "The distance to real images against the evaluations of several samplers.",
    "schedules": "Noise schedules side by side.",
    "failures": "What goes wrong with other noise.",
    "normal-map": "N(0, 1) carried to data on a line, by learned means and variances.",
    "pixel-densities": "The values of all pixels turning into N(0, 1).",
    "toy": "Points in the plane, diffused and generated back by a small net.",
}
"""Name -> its title; the figure itself is ddpm/figures/<name>.py, `-` written as `_`."""
