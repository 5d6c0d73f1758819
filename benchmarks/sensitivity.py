"""How `fid_768` answers to known damage of real photographs: noise, JPEG, and fewer images.

    python -m benchmarks.sensitivity --images celeba.zip --weights inception2015_to_mixed_6e.npz --grids grids

All distances are to one half of the photographs; what is damaged comes from the other half. The first run computes
21,000 feature rows, in about 45 minutes on two cores; they stay in the work folder, and a run that was stopped goes on.
The exit code is 1 if more damage ever gives a smaller distance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import torch

from benchmarks.damage import SEED, jpeg, noisy, read_grids, read_photos
from benchmarks.kept import Kept, Rows, distance, gaussian
from benchmarks.machine import RESULTS, report, table
from ddpm.digest import file_sha256
from ddpm.drawing.curves import plain_log_ticks
from ddpm.drawing.look import BLUE, MUTED, ORANGE, as_image, name_axes, page
from ddpm.drawing.png import save_png
from ddpm.engine.device import keep_heap, pick_device, set_determinism
from ddpm.experiment.workspace import atomic_path
from ddpm.metrics.features import Extractor, build_extractor
from ddpm.metrics.moments import Moments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOISE = (0, 2, 4, 8, 16, 32)
QUALITIES = (None, 95, 90, 75, 50, 25)
FEWEST = 250
FIGURE = Path("docs/images/sensitivity.png")


@dataclass(frozen=True)
class Curve:
    """Distances at growing damage.

    Attributes:
        name: of the damage.
        levels: how much of it, as text; the first is none.
        distances: one a level.
    """

    name: str
    levels: tuple[str, ...]
    distances: tuple[float, ...]

    @property
    def monotone(self) -> bool:
        """Whether every level is farther away than the one before."""
        return all(less < more for less, more in pairwise(self.distances))


@dataclass(frozen=True)
class Anchors:
    """What the curves are seen beside.

    Attributes:
        halves: of one half of the photographs from the other, with as many images a side.
        grids, as_many: of generated faces, and of as many real ones; None without grids.
        num_grids: how many these are.
    """

    halves: float
    grids: float | None
    as_many: float | None
    num_grids: int


def counts(count: int) -> list[int]:
    """From all down to about 250 images by factors of two."""
    found = [count]
    while found[-1] // 2 >= FEWEST:
        found.append(found[-1] // 2)
    return found


def measure(kept: Kept, images: Path, grids: Path | None, count: int, damaged: int) -> tuple[Anchors, list[Curve]]:
    """All distances; what all others need is computed first.

    Raises:
        ValueError: what `read_photos` and `read_grids` refuse.
    """
    faces = read_grids(grids) if grids else None
    photos = read_photos(images, 2 * count)
    reference, other = gaussian(kept.rows(photos[:count], "half-1")), kept.rows(photos[count:], "half-2")
    anchors = Anchors(distance(other, reference), None, None, 0)
    if faces is not None:
        away, real = distance(kept.rows(faces, "grids"), reference), distance(other[: len(faces)], reference)
        anchors = Anchors(anchors.halves, away, real, len(faces))
    some, rows = photos[count : count + damaged], other[:damaged]
    noise = [kept.rows(noisy(some, sigma), f"noise-{sigma}") if sigma else rows for sigma in NOISE]
    stored = [kept.rows(jpeg(some, quality), f"jpeg-{quality}") if quality else rows for quality in QUALITIES]
    fewer = [other[:number] for number in counts(count)]
    return anchors, [
        _curve("Gaussian noise", [str(sigma) for sigma in NOISE], noise, reference),
        _curve("JPEG", ["none", *map(str, QUALITIES[1:])], stored, reference),
        _curve("fewer images", [f"{number:,}" for number in counts(count)], fewer, reference),
    ]


def _curve(name: str, levels: Sequence[str], sets: Sequence[Rows], reference: Moments) -> Curve:
    return Curve(name, tuple(levels), tuple(distance(rows, reference) for rows in sets))


def draw(anchors: Anchors, curves: Sequence[Curve], damaged: int, path: Path, about: Mapping[str, str]) -> None:
    """One panel a curve on one scale; the dotted line is the distance of as many real images, undamaged."""
    titles = ["Gaussian noise added", "Stored as JPEG", "Fewer images"]
    across = ["standard deviation (levels of 255)", "quality, 4:2:0 chroma", "real images, undamaged"]
    with page(9.6, 3.6) as figure:
        panels: Sequence[Axes] = figure.subplots(1, len(curves), sharey=True)
        for axes, curve, title, axis in zip(panels, curves, titles, across, strict=True):
            places = range(len(curve.levels))
            axes.plot(places, curve.distances, "o-", color=BLUE, markersize=4.5, clip_on=False, zorder=3)
            axes.set_xticks(places, curve.levels)
            axes.margins(x=0.1, y=0.08)
            axes.axhline(curve.distances[0], color=MUTED, linewidth=0.9, linestyle=":")
            for place, value in zip(places, curve.distances, strict=True):
                axes.annotate(f"{value:.3f}", (place, value), (-5, 8), textcoords="offset points", ha="center", size=8)
            name_axes(axes, title, axis, "")
        panels[0].set_ylabel("fid_768 (log scale)")
        panels[0].set_yscale("log")
        plain_log_ticks(panels[0])
        if anchors.grids is not None:  # beside counts of its own kind: the others hold fewer images
            panels[-1].axhline(anchors.grids, color=ORANGE, linewidth=1.2, linestyle="--")
            words = f"{anchors.num_grids:,} generated faces: {anchors.grids:.3f}"
            panels[-1].annotate(words, (0.62, anchors.grids), (0, 4), color=ORANGE, size=8, **_AT_THE_RIGHT)
        with atomic_path(path) as temporary:
            save_png(as_image(figure), temporary, {**about, "damaged": f"{damaged} images a level"})


_AT_THE_RIGHT: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "bottom",
}  # fmt: skip


@click.command()
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Zip of real photographs of one size.")
@click.option("--weights", type=click.Path(path_type=Path), required=True, help="Weights of fid_768.")
@click.option("--grids", type=click.Path(path_type=Path), help="Folder of 10x10 JPEG grids of generated faces.")
@click.option("--count", type=click.IntRange(min=4), default=5000, help="Photographs in each of the two halves.")
@click.option("--damaged", type=click.IntRange(min=2), default=1000, help="Photographs that are damaged.")
@click.option("--device", default="cpu", help="cpu, cuda or auto.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("work/sensitivity"), help="Folder of features.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the results.")
@click.option("--figure", type=click.Path(path_type=Path), default=FIGURE, help="The picture.")
def main(
    images: Path, weights: Path, grids: Path | None, count: int, damaged: int, device: str, work: Path, out: Path,
    figure: Path,
) -> None:  # fmt: skip
    """Measure fid_768 of damaged photographs, and write a table, JSON and a figure; exit 1 if it ever falls."""
    try:
        place = pick_device(device)
        extractor = build_extractor("fid_768", weights=weights, download=False, device=place)
        kept = Kept(extractor.extract, _about(extractor, place), work)
        _prepare(place)
        damaged = min(damaged, count)
        anchors, curves = measure(kept, images, grids, count, damaged)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    digest = file_sha256(images)
    settings = {"images_sha256": digest, "weights_sha256": extractor.weights_sha256, "seed": SEED}
    settings |= {"count": count, "damaged": damaged, "device": place.type}
    draw(anchors, curves, damaged, figure, {name: str(value) for name, value in settings.items()})
    monotone = {curve.name: curve.monotone for curve in curves}
    measured = {
        "settings": settings,
        "anchors": vars(anchors),
        "curves": {curve.name: dict(zip(curve.levels, curve.distances, strict=True)) for curve in curves},
        "monotone": monotone,
        "computed_images": kept.computed,
    }
    report("sensitivity", "How fid_768 answers to damage", measured, _body(anchors, curves, settings), out, place)
    fallen = ", ".join(name for name, rises in monotone.items() if not rises)
    if fallen:
        raise click.ClickException(f"fid_768 must grow with the damage, but it falls somewhere in: {fallen}")


def _prepare(device: torch.device) -> None:
    set_determinism(deterministic=True)
    if device.type == "cpu":
        keep_heap()


def _about(extractor: Extractor, device: torch.device) -> str:
    return f"{extractor.name} {extractor.family} {extractor.weights_sha256} {torch.__version__} {device.type}"


def _body(anchors: Anchors, curves: Sequence[Curve], settings: Mapping[str, Any]) -> str:
    count, damaged = settings["count"], settings["damaged"]
    rows = [[f"{count:,} other photographs", f"{anchors.halves:.4f}"]]
    if anchors.grids is not None and anchors.as_many is not None:
        rows += [[f"{anchors.num_grids:,} generated faces, out of JPEG grids", f"{anchors.grids:.4f}"]]
        rows += [[f"as many photographs ({min(anchors.num_grids, count):,})", f"{anchors.as_many:.4f}"]]
    tables = "\n\n".join(
        f"""## {curve.name}: {"grows at every level" if curve.monotone else "FALLS SOMEWHERE"}

{table(curve.levels, [[f"{value:.4f}" for value in curve.distances]])}"""
        for curve in curves
    )
    return f"""`fid_768` is the Frechet distance in 768 features of the FID network (of an earlier block), no FID: such
numbers compare only with each other. All are distances from the same {count:,} photographs (sha256 of the zip
`{settings["images_sha256"]}`), drawn by seed {settings["seed"]}.

{table(["from", "fid_768"], rows)}

Noise and JPEG damage the same {damaged:,} photographs of the other half. Noise is Gaussian, its standard deviation in
levels of 255, rounded and clipped. JPEG is by Pillow's quality with halved chroma (4:2:0), the blocks moved by half a
block: the photographs are JPEGs themselves, and storing one again in its own blocks at its own quality would change
nothing. Fewer images are not damaged at all: what grows there is the bias of the estimate.

{tables}"""


if __name__ == "__main__":
    main()
