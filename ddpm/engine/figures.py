"""The pictures of a run: samples, curves, and the two processes step by step."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ddpm import randomness
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.samplers.steps import SPACINGS
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.batches import to_images, to_pixels
from ddpm.engine.build import build_schedule
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.sample import trajectories
from ddpm.experiment.params import FiguresParams, SampleParams
from ddpm.experiment.workspace import atomic_path
from ddpm.figures.comparison import real_and_generated
from ddpm.figures.curves import loss_curve, schedule_curves
from ddpm.figures.grid import tile
from ddpm.figures.png import save_png
from ddpm.figures.strips import strip

FORWARD_SHARES = (0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Where the forward strip stops, as shares of T: 0, 10, 50, ... for T = 1000."""


@dataclass(frozen=True)
class Material:
    """Everything that the figures are drawn from; no curve for a net that was trained elsewhere."""

    figures: FiguresParams
    sample: SampleParams
    checkpoint: Checkpoint
    samples: NDArray[np.uint8]
    real: NDArray[np.uint8]
    curve: Path | None
    metrics: Mapping[str, Any]
    device: torch.device


def draw_figures(material: Material, out: Path, tick: Callable[[int], object]) -> list[Path]:
    """Draw every figure of `figures_of` into `out`; returns their paths."""
    about = _about(material)
    paths = []
    for name, draw in figures_of(material).items():
        path = out / f"{name}.png"
        with atomic_path(path) as temporary:
            draw(material, temporary, about)
        paths.append(path)
        tick(1)
    return paths


def samples_grid(material: Material, path: Path, about: dict[str, str]) -> None:
    """The first samples, row by row; with labels, column j of a 10-column grid shows class j."""
    chosen = material.figures
    save_png(tile(material.samples, chosen.grid_rows, chosen.grid_columns, chosen.zoom), path, about)


def comparison(material: Material, path: Path, about: dict[str, str]) -> None:
    """Real images beside samples, with the metric in the caption."""
    chosen = material.figures
    columns = max(chosen.grid_columns // 2, 1)
    rows = min(chosen.grid_rows, len(material.real) // columns)
    captions = ("real", f"generated  {_headline(material.metrics)}")
    save_png(real_and_generated(material.real, material.samples, rows, columns, chosen.zoom, captions), path, about)


def loss(material: Material, path: Path, about: dict[str, str]) -> None:
    """The training curve."""
    assert material.curve is not None  # see figures_of
    with material.curve.open(newline="") as file:
        loss_curve(list(csv.DictReader(file)), path, about)


def schedule(material: Material, path: Path, about: dict[str, str]) -> None:
    """beta, alpha_bar and log-SNR over t."""
    tables = build_schedule(material.checkpoint.schedule, torch.device("cpu"))
    schedule_curves(tables.alpha_bar.numpy(), tables.beta.numpy(), path, about)


def forward(material: Material, path: Path, about: dict[str, str]) -> None:
    """Real images on their way into noise, one noise per image."""
    tables = build_schedule(material.checkpoint.schedule, torch.device("cpu"))
    pixels = torch.from_numpy(material.real[: material.figures.strip_images].copy())
    x0 = to_images(pixels, torch.device("cpu"), torch.contiguous_format)
    index = torch.arange(len(x0))
    eps = randomness.normal(material.figures.seed, "forward strip", 0, index, tuple(x0.shape[1:]))
    steps = sorted({round(share * tables.T) for share in FORWARD_SHARES})
    noised = [q_sample(tables, x0, torch.full((len(x0),), t), eps) for t in steps]
    frames = [to_pixels(x_t / size).numpy() for x_t, size in zip(noised, _sizes(tables, steps), strict=True)]
    save_png(_strip(material, frames, steps, "x_t: data into noise"), path, about)


def denoising(material: Material, path: Path, about: dict[str, str]) -> None:
    """Samples on their way out of noise: x_t over what the net believed x0 to be."""
    steps, x_t, x0_hat = _reverse(material)
    above = _strip(material, x_t, steps, "x_t: noise into data")
    below = _strip(material, x0_hat, steps, "x0_hat: what the net predicts on the way")
    sheet = Image.new("RGB", (max(above.width, below.width), above.height + below.height), "white")
    sheet.paste(above, (0, 0))
    sheet.paste(below, (0, above.height))
    save_png(sheet, path, about)


FIGURES: dict[str, Callable[[Material, Path, dict[str, str]], None]] = {
    "samples": samples_grid,
    "comparison": comparison,
    "loss": loss,
    "schedule": schedule,
    "forward": forward,
    "denoising": denoising,
}
"""File name -> how it is drawn; add a figure here and to dvc.yaml."""


def figures_of(material: Material) -> dict[str, Callable[[Material, Path, dict[str, str]], None]]:
    """What can be drawn: `FIGURES`, without the loss where there is no curve."""
    return {name: draw for name, draw in FIGURES.items() if name != "loss" or material.curve is not None}


def _reverse(material: Material) -> tuple[list[float], list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """x_t and x0_hat of a few new samples at evenly spaced steps; x0_hat of the start is that of the first step."""
    chosen, (height, width, channels) = material.figures, material.checkpoint.data.shape
    tables = build_schedule(material.checkpoint.schedule, torch.device("cpu"))
    start = trajectories(material.checkpoint, material.sample, chosen.seed, material.device)
    index = torch.arange(chosen.strip_images, device=material.device)
    x_T = randomness.normal(chosen.seed, "x_T", 0, index, (channels, height, width))
    with torch.inference_mode():
        states = [(s, x_s.cpu(), to_pixels(x0).cpu().numpy()) for s, x_s, x0 in start(index)]
    first = SPACINGS[material.sample.spacing](tables, material.sample.steps)[0]
    steps = [first, *(s for s, _, _ in states)]
    noisy = [x_T.cpu(), *(x_s / size for (_, x_s, _), size in zip(states, _sizes(tables, steps)[1:], strict=True))]
    beliefs = [states[0][2], *(x0 for _, _, x0 in states)]
    picked = np.linspace(0, len(steps) - 1, chosen.strip_columns).round().astype(int)
    return [steps[i] for i in picked], [to_pixels(noisy[i]).numpy() for i in picked], [beliefs[i] for i in picked]


def _sizes(tables: Schedule, steps: Sequence[float]) -> list[float]:
    """What x_t is divided by to be shown: 1 where variance is preserved, else its own standard deviation."""
    return [(signal**2 + noise**2) ** 0.5 for signal, noise in tables.path(steps)]


def _strip(material: Material, frames: list[NDArray[np.uint8]], steps: Sequence[float], caption: str) -> Image.Image:
    return strip(np.stack(frames), [round(t) for t in steps], material.figures.zoom, caption)


def _headline(metrics: Mapping[str, Any]) -> str:
    """`frechet_pixels@500 = 1.23`, for each distance that is not a floor."""
    distances = [name for name in metrics if name.startswith(("frechet", "fid")) and "_floor" not in name]
    return ", ".join(f"{name} = {metrics[name]['value']:.3g}" for name in distances)


def _about(material: Material) -> dict[str, str]:
    """What made a figure, for its text chunk."""
    return {
        "ddpm.figures": material.figures.model_dump_json(),
        "ddpm.sample": material.sample.model_dump_json(),
        "ddpm.schedule": material.checkpoint.schedule.model_dump_json(),
        "ddpm.model": material.checkpoint.model.model_dump_json(),
        "ddpm.metrics": _headline(material.metrics),
    }
