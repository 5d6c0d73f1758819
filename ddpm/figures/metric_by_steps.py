"""The distance to real images against the evaluations that each sampler spends on an image.

The distance is that of `evaluate`, in the features of the reference statistics: `fid` only where these are of the
canonical Inception network, `frechet_pixels` where they are of pixels. The number of images is part of its name, and
distances of other counts do not compare. All points start from the same noise. What is not swept (spacing, variance,
guidance, thresholds) is that of the section `sample`, but `ddim` has eta 0: with eta 1 it is `ddpm` with fixed_small.

\b
Example:
  python -m ddpm figure metric-by-steps --samplers ddim,unipc --steps 5,10,20,50 --images 512
"""

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from PIL import Image

from ddpm.data.store import LazyImages
from ddpm.digest import file_sha256
from ddpm.drawing.by_steps import COLORS, by_steps
from ddpm.engine.by_steps import Point, measure_real, measure_setting, require_all
from ddpm.engine.choose import Protocol
from ddpm.experiment.params import SampleParams
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.metrics.features import build_extractor

FEATURE_BATCH = 64  # images; decides no feature
SAMPLERS: tuple[str, ...] = get_args(SampleParams.model_fields["sampler"].annotation)
WITHOUT_STEPS = ("ode",)  # chooses its own


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    samplers: str = option("ddpm,ddim,dpmpp-2m,heun,unipc", "Samplers, at most seven; a line each.")
    steps: tuple[int, ...] = option((3, 5, 10), "Steps of each; heun evaluates the net nearly twice a step.", least=1)
    images: int = option(64, "Images that are drawn and measured at each point.", least=2)


def draw(material: Material, options: Options) -> Image.Image:
    """One line a sampler, and the distance of as many held-out images."""
    samplers, statistics = samplers_of(options.samplers), material.statistics
    if not options.steps:
        raise ValueError("--steps must name at least one number of steps, such as 5,10, got none")
    settings = [setting(material, name, steps, options.images) for name in samplers for steps in sorted(options.steps)]
    extractor = build_extractor(statistics.identity["features"], weights=None, download=False, device=material.device)
    digest = file_sha256(material.places.statistics)
    protocol = Protocol(settings[0], statistics, digest, extractor, "own", FEATURE_BATCH)
    require_all(material.checkpoint, protocol, settings, material.device)
    points = [
        measure_setting(material.checkpoint, replace(protocol, sample=chosen), material.device)
        for chosen in material.track(settings, "settings")
    ]
    floor, held_out = None, material.held_out.images
    if len(held_out) >= 2:
        record = measure_real(first(held_out, options.images), protocol, material.device)
        floor = f"{record['num_images']} held-out images", record["value"]
    return by_steps(lines_of(points, settings), points[0].record["name"], about(points[0], material.sample), floor)


def samplers_of(text: str) -> list[str]:
    """`ddpm,ddim` as a list.

    Raises:
        ValueError: none, too many, one twice, one that is no sampler, or one whose steps nobody chooses.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    allowed = [name for name in SAMPLERS if name not in WITHOUT_STEPS]
    if wrong := [name for name in names if name not in allowed]:
        raise ValueError(f"--samplers must be of {', '.join(allowed)}, got {wrong[0]}")
    if not 1 <= len(names) <= len(COLORS) or len(set(names)) < len(names):
        raise ValueError(f"--samplers must name 1 to {len(COLORS)} different ones, got {text!r}")
    return names


def setting(material: Material, sampler: str, steps: int, num_images: int) -> SampleParams:
    """The section `sample` with another sampler and number of steps."""
    changes: dict[str, str | int | float] = {
        "seed": material.figures.seed,
        "sampler": sampler,
        "steps": steps,
        "num_images": num_images,
    }
    if sampler == "ddim":
        changes["eta"] = 0.0
    return SampleParams.model_validate({**material.sample.model_dump(), **changes})


def first(images: LazyImages, count: int) -> LazyImages:
    """At most so many of the images, from the first on."""
    return np.stack([np.asarray(images[number]) for number in range(min(count, len(images)))])


def lines_of(points: list[Point], settings: list[SampleParams]) -> dict[str, list[tuple[float, float]]]:
    """Sampler, as the legend says it -> (nfe, distance) of its points."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for point, sample in zip(points, settings, strict=True):
        lines.setdefault(legend(sample), []).append((point.nfe, point.record["value"]))
    return lines


def legend(sample: SampleParams) -> str:
    """A sampler with what else decides it."""
    beside = {"ddim": f", eta {sample.eta:g}", "dpmpp-2m-sde": f", eta {sample.eta:g}", "ddpm": f", {sample.variance}"}
    return sample.sampler + beside.get(sample.sampler, "")


def about(point: Point, sample: SampleParams) -> str:
    """What holds for all points, in one line."""
    scale = f", guidance {sample.guidance_scale:g}" if sample.guidance_scale != 1 else ""
    return f"{point.record['num_reference']:,} real images{scale}, spacing {sample.spacing} ({point.record['grade']})"


FIGURE = Figure(
    caption=(
        "The distance between samples and training images, for several samplers, against the evaluations of the net "
        "that an image costs. The dashed line is real images that were held out: no sampler can be asked for less."
    ),
    options=Options,
    draw=draw,
    needs=("checkpoint", "sample", "statistics", "held_out"),
)
