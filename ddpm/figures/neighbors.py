"""Samples beside their nearest training images, and a check for copies (Meehan, Chaudhuri and Dasgupta 2020, sec. 3).

Distances are measured between pixels, and between the features in which the reference statistics are, where their
network is there. A net that copies lies nearer to its training images than images do that it has never seen: the
histogram compares as many of both.

\b
Example:
  python -m ddpm figure neighbors --rows 6 --neighbors 4 --show first --out work/neighbors.png
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm import randomness
from ddpm.data.store import read_manifest
from ddpm.drawing.neighbors import distance_histogram, neighbor_rows
from ddpm.drawing.sheets import above_each_other
from ddpm.engine.neighbors import Neighborhood, Space, feature_space, nearest_training, pixel_space
from ddpm.figures.figure import Figure
from ddpm.figures.material import Material
from ddpm.figures.options import option
from ddpm.metrics.memorization import compared, nearer_share

NEAR = 0.05


@dataclass(frozen=True)
class Options:
    """What this figure can be told."""

    rows: int = option(10, "Samples to show.", least=1)
    neighbors: int = option(5, "Training images beside each.", least=1)
    show: Literal["closest", "first"] = option("closest", "The samples nearest to a training image, or the first ones.")
    images: int = option(500, "Samples, and held-out images, that the histogram compares, at most.", least=2)
    features: Literal["auto", "pixels", "reference"] = option(
        "auto", "Beside pixels, those of the reference where they are there; pixels only; or refuse without them."
    )


def draw(material: Material, options: Options) -> Image.Image:
    """One part for pixels, and one for features."""
    samples, held_out = some_images(material, options)
    features = chosen_features(material, options)
    spaces = [pixel_space(material.train.images), *([features] if isinstance(features, Space) else [])]
    shown, parts = None, []
    for space in spaces:
        found = nearest_training(space, np.concatenate([samples, held_out]), options.neighbors)
        near = found.distances[:, 0]
        if shown is None:  # the same ones in every part
            order = (
                np.argsort(near[: len(samples)], kind="stable") if options.show == "closest" else range(len(samples))
            )
            shown = np.array(order[: options.rows])
        note = "" if len(spaces) > 1 or not isinstance(features, str) else f" By pixels only: {features}."
        parts.append(rows_of(material, options, space, samples, found, shown, note))
        of_samples, of_held_out = near[: len(samples)], near[len(samples) :]
        across = f"distance to the nearest training image by {space.name}"
        title, findings = f"Copies? By {space.name}", findings_of(of_samples, of_held_out)
        parts.append(distance_histogram(of_samples, of_held_out, across, title, findings))
    return above_each_other(parts)


def some_images(material: Material, options: Options) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first samples, and as many held-out images, drawn from all of them; none where none were held out.

    Raises:
        ValueError: samples of another shape than the training images, or options that ask for too many.
    """
    train, held_out, samples = material.train.images, material.held_out.images, material.samples
    if samples.shape[1:] != train.shape[1:]:
        raise ValueError(
            f"{material.places.samples}: must hold images of {train.shape[1:]} like those of {material.places.data}, "
            f"got {samples.shape[1:]}; name the data that the net was trained on with --data"
        )
    count = min(options.images, len(samples), len(held_out) or len(samples))
    for flag, asked, most, of in (
        ("--rows", options.rows, count, "compared samples"),
        ("--neighbors", options.neighbors, len(train), "training images"),
    ):
        if asked > most:
            raise ValueError(f"{flag} must be at most the {most} {of}, got {asked}")
    chosen = np.zeros(0, np.int64)
    if len(held_out):
        order = randomness.permutation(material.figures.seed, "neighbors: held-out images", 0, len(held_out))
        chosen = np.sort(order[:count].numpy())
    return np.array(samples[:count]), np.asarray(held_out[chosen])


def chosen_features(material: Material, options: Options) -> Space | str | None:
    """The space of features; why there is none; None where none is wanted.

    Raises:
        ValueError: they must be there and are not.
    """
    if options.features == "pixels":
        return None
    places = material.places
    found = feature_space(
        material.train.images,
        read_manifest(places.data),
        places.statistics,
        material.statistics,
        material.device,
        material.track,
    )
    if options.features == "reference" and isinstance(found, str):
        raise ValueError(f"--features reference: {found}; use --features pixels, or make another reference")
    return found


def space_unit(space: Space) -> str:
    """Of its distances."""
    return "root mean squared difference of levels 0..255" if space.name == "pixels" else f"{space.name} features"


def rows_of(
    material: Material,
    options: Options,
    space: Space,
    samples: NDArray[np.uint8],
    found: Neighborhood,
    shown: NDArray[np.int64],
    note: str,
) -> Image.Image:
    """The shown samples with their neighbors in one space."""
    numbers, distances = found.numbers[shown], found.distances[shown]
    neighbors = np.asarray(material.train.images[numbers.ravel()]).reshape(*numbers.shape, *samples.shape[1:])
    which = "first" if options.show == "first" else "nearest to a training image by pixels"
    return neighbor_rows(
        samples[shown],
        neighbors,
        [f"no. {number}" for number in shown],
        [[f"{distance:.1f}" for distance in row] for row in distances],
        material.figures.zoom,
        f"Nearest training images by {space.name}",
        f"In blue, of {len(samples):,} samples the {len(shown)} that are {which}; to the right of each its "
        f"{options.neighbors} nearest training images with their distance ({space_unit(space)}).{note}",
    )


def findings_of(of_samples: NDArray[np.float64], of_held_out: NDArray[np.float64]) -> str:
    """What the distances say about copying, in numbers."""
    if not len(of_held_out):
        return "No images were held out, so there is nothing to compare samples with."
    nearer = compared(of_samples, of_held_out).value
    nearest, near = (nearer_share(of_samples, of_held_out, quantile) for quantile in (0.0, NEAR))
    return (
        f"A sample lies nearer to the training images than a held-out image does with probability {nearer:.2f} "
        "(copies: 1, new images of the same kind: 0.50, far off: 0). "
        f"Nearer than the nearest {NEAR:.0%} of held-out images lie {near:.1%} of the samples "
        f"(new images: {NEAR:.0%}), and nearer than every one of them {nearest:.1%} "
        f"(new images: {1 / (len(of_held_out) + 1):.1%})."
    )


FIGURE = Figure(
    caption=(
        "Samples with the training images that lie nearest to them. Where a net copies, the distances of samples "
        "crowd to the left of those of held-out images, and the likeliest copies show the same picture twice."
    ),
    options=Options,
    draw=draw,
    needs=("samples", "train", "held_out", "statistics"),
)
