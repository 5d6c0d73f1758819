"""ddpm evaluate: samples and reference statistics -> metrics.json."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.data.foreign import ForeignImages
    from ddpm.data.store import LazyImages
    from ddpm.engine.distributed import Team
    from ddpm.experiment.params import Params
    from ddpm.metrics.features import Extractor
    from ddpm.metrics.images import Features
    from ddpm.metrics.statistics import Statistics


@click.command()
@stage.params_options
@stage.path_option(
    "--samples", stage.SAMPLES / "images.npy", "Samples: .npy, .npz (ADM), a folder, zip or tar of pictures, or sheets."
)
@click.option(
    "--grid", callback=stage.rows_and_columns, metavar="ROWSxCOLUMNS", help="The samples are sheets of so many cells."
)
@click.option("--padding", type=click.IntRange(min=0), default=0, help="Pixels around the cells of a sheet.")
@click.option("--num-images", type=click.IntRange(min=2), help="The first N samples.  [default: evaluate.num_images]")
@stage.path_option("--reference", stage.STATISTICS, "Statistics of the real images.")
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images (for the floor).")
@stage.path_option("--out", stage.RESULTS / "metrics.json", "Where the metrics go.")
@stage.weights_options
@stage.devices_option
@stage.device_option
def evaluate(
    params_path: Path,
    overrides: tuple[str, ...],
    samples: Path,
    grid: tuple[int, int] | None,
    padding: int,
    num_images: int | None,
    reference: Path,
    data: Path,
    out: Path,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Measure samples against real images, in the features of the reference.

    The distance is called fid only with the canonical Inception network; pixels give frechet_pixels. Features are kept
    in work/features, so other metrics of the same images need no network.

    \b
    Example:
      python -m ddpm evaluate --samples work/twenty_steps/images.npy --out work/twenty_steps/metrics.json
      python -m ddpm evaluate --samples sheets --grid 10x10 --padding 1 --num-images 1000 --out work/sheets.json
    """
    params = _params(params_path, overrides, num_images)
    if padding and grid is None:
        raise click.UsageError("--padding belongs to --grid")
    if stage.spread(devices, device):
        return

    from ddpm.data.foreign import open_images
    from ddpm.engine.distributed import join
    from ddpm.experiment.workspace import require_writable

    stage.require_files(samples, reference)
    found = open_images(samples, grid=grid, padding=padding)
    count = params.evaluate.num_images
    if found.num_images < count:
        wanted = "--num-images" if num_images else "evaluate.num_images"
        raise ValueError(
            f"{samples}: {wanted} {count} needs as many samples, got {found.num_images}; "
            f"take all with --num-images {found.num_images}"
        )
    require_writable(out)
    defaults = (stage.SAMPLES / "images.npy", stage.STATISTICS, stage.PREPARED, stage.RESULTS / "metrics.json")
    standard = (samples, reference, data, out) == defaults and not grid and not num_images
    with join(device) as team:
        run(params, (samples, found, count), reference, data, out, (weights, download), team, standard)


def _params(path: Path, overrides: tuple[str, ...], num_images: int | None) -> "Params":
    """With --num-images in the place of evaluate.num_images, and all rules asked about it."""
    params = stage.load_params(path, overrides)
    if num_images is None:
        return params
    drawn = max(num_images, params.sample.num_images)  # samples of another program may be more than we would draw
    asked = (f"evaluate.num_images={num_images}", f"sample.num_images={drawn}")
    return stage.load_params(path, (*overrides, *asked))


def run(
    params: "Params",
    samples: tuple[Path, "ForeignImages", int],
    reference: Path,
    data: Path,
    out: Path,
    network: tuple[Path | None, bool],
    team: "Team",
    standard: bool,
) -> None:
    """Measure, as one process of a team; samples: place, what is there, count; network: --weights, --download."""
    from ddpm.data.store import images_file
    from ddpm.digest import file_sha256
    from ddpm.engine import evaluate as engine
    from ddpm.engine.device import set_determinism
    from ddpm.engine.features import image_set, kept_features
    from ddpm.engine.samples_in import real_images, sample_array
    from ddpm.experiment.workspace import project_root, write_json
    from ddpm.metrics.record import Protocol, summary, warning

    set_determinism(deterministic=True)
    (place, found, count), chosen = samples, params.evaluate
    statistics, extractor, real, held_out = _checked(params, samples, reference, data, network, team)
    name = extractor.name
    if team.first:
        _describe(place, found)
    inputs = [path for path in (place, reference) if path.is_file()]
    inputs += [data / images_file("valid")] if held_out is not None else []
    root = project_root()
    with (
        stage.work("evaluate", params, inputs, team) as work,
        stage.recorded("evaluate", params, team, standard) as recorder,
    ):
        images, stored_as = sample_array(found, count, name, work, team, lambda num: None)  # noqa: ARG005
        sets = [image_set(images)]
        if held_out is not None:
            sets.append(image_set(real_images(held_out, name)))
        with stage.progress("features", sum(len(some.order) for some in sets), "images", team.first) as bar:
            rows = [kept_features(some, extractor, chosen.batch, root, team, bar.update) for some in sets]
        if team.first:
            compared = engine.compare(rows[0], rows[1] if rows[1:] else None, real, statistics, extractor, chosen)
            digest, real_ones = file_sha256(reference), None
            protocol = Protocol(chosen.protocol, stored_as, sets[0].sha256, digest)
            if held_out is not None:
                real_ones = Protocol(chosen.protocol, "prepared npy", sets[1].sha256, digest)
            with stage.progress("evaluate", len(chosen.metrics), "metrics") as bar:
                recorder.numbers = engine.evaluate(compared, statistics, extractor, protocol, real_ones, bar.update)
            recorder.artifacts = [out]
            write_json(out, recorder.numbers)
    if team.first:
        for line in summary(recorder.numbers):
            click.echo(line)
        if caution := warning(recorder.numbers):
            click.echo(f"Warning: {caution}", err=True)
        click.echo(f"{out}: done. Next: python -m ddpm figures")


def _checked(
    params: "Params",
    samples: tuple[Path, "ForeignImages", int],
    reference: Path,
    data: Path,
    network: tuple[Path | None, bool],
    team: "Team",
) -> "tuple[Statistics, Extractor, Features | None, LazyImages | None]":
    """What the samples are measured by: statistics, extractor, features of the reference, held-out real images.

    Raises:
        ValueError: samples, reference, held-out images, metrics and protocol do not fit each other.
    """
    from ddpm.data.store import open_split, read_manifest
    from ddpm.engine import evaluate as engine
    from ddpm.engine.reference import load_real
    from ddpm.metrics.features import build_extractor
    from ddpm.metrics.statistics import load_statistics

    (_, found, count), (weights, download), chosen = samples, network, params.evaluate
    statistics = load_statistics(reference)
    held_out = open_split(data, "valid").images[:count] if engine.needs_held_out(chosen) else None
    name = statistics.identity["features"]
    extractor = build_extractor(name, weights=weights, download=download, device=team.device)
    num_held_out = None if held_out is None else len(held_out)
    engine.require_comparable((count, *found.shape), num_held_out, statistics, extractor)
    engine.require_protocol(chosen.protocol, statistics, None if held_out is None else read_manifest(data))
    real = load_real(reference, statistics)
    engine.require_metrics(chosen, real)
    return statistics, extractor, real, held_out


def _describe(place: Path, found: "ForeignImages") -> None:
    """Say what was found at the place of the samples: a wrong grid shows in the side of its cells."""
    from ddpm.data.foreign import jpeg_warning

    empty = f", {found.num_empty_cells} empty cells left out" if found.num_empty_cells else ""
    side = f"{found.shape[0]}x{found.shape[1]}"
    click.echo(f"{place}: {found.num_images:,} images of {side}, {found.format}{empty}", err=True)
    if line := jpeg_warning(found):
        click.echo(f"Warning: {line}", err=True)
