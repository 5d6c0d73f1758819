"""ddpm reference: prepared images -> feature statistics, once per data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.engine.distributed import Team
    from ddpm.experiment.params import Params
    from ddpm.metrics.statistics import Statistics


@click.command()
@stage.params_options
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--out", stage.STATISTICS, "Statistics (npz with mu, sigma, num_images, identity); features beside.")
@stage.results_option("reference.json")
@click.option("--foreign", type=click.Path(path_type=Path), help="Statistics of another program instead of images.")
@click.option("--family", type=click.Choice(["tf1", "pytorch"]), help="Of --foreign: how its images were resized.")
@click.option("--count", type=click.IntRange(min=2), help="Of --foreign: images behind it, if it does not say.")
@stage.weights_options
@stage.devices_option
@stage.device_option
def reference(
    params_path: Path,
    overrides: tuple[str, ...],
    data: Path,
    out: Path,
    results: Path | None,
    foreign: Path | None,
    family: str | None,
    count: int | None,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Compute the features of real images, and reduce them to mean and covariance.

    --foreign takes a file of pytorch-fid, EDM, the ADM evaluator or score_sde. It cannot tell which network and resize
    made it: --family and the sections data and reference declare that.

    \b
    Example:
      python -m ddpm reference -S reference.features=inception --weights pt_inception-2015-12-05-6726825d.pth
      python -m ddpm reference -S reference.features=inception --foreign cifar10-32x32.npz --family tf1 --count 50000
    """
    params = stage.load_params(params_path, overrides)
    folder = stage.results_folder(results, out, stage.STATISTICS)
    if (foreign is None) != (family is None) or (foreign is None and count is not None):
        raise click.UsageError("--foreign, --family (and --count) go together")
    if foreign is None and stage.spread(devices, device):
        return

    from ddpm.engine.distributed import join
    from ddpm.experiment.workspace import require_writable

    for target in (out, folder / "reference.json"):
        require_writable(target)
    if foreign is not None and family is not None:
        from ddpm.engine.reference import write_foreign
        from ddpm.metrics.foreign import read_foreign_statistics

        found = write_foreign(out, read_foreign_statistics(foreign), family, params, count)
        _record(out, folder, found)
        click.echo("reference: statistics of another program are not recorded in MLflow", err=True)
        _say(out, found)
        return
    standard = stage.is_standard(data=(data, stage.PREPARED), out=(out, stage.STATISTICS), f=(folder, stage.RESULTS))
    with join(device) as team:
        run(params, data, out, folder, (weights, download), team, standard)


def run(
    params: "Params",
    data: Path,
    out: Path,
    folder: Path,
    network: tuple[Path | None, bool],
    team: "Team",
    standard: bool,
) -> None:
    """Compute and write them, as one process of a team; `network` is (--weights, --download)."""
    from ddpm.data.store import images_file, open_split, read_manifest
    from ddpm.engine import reference as engine
    from ddpm.engine.device import set_determinism
    from ddpm.engine.features import image_set, stored_features
    from ddpm.engine.samples_in import real_images
    from ddpm.metrics.features import build_extractor

    set_determinism(deterministic=True)
    chosen, (weights, download) = params.reference, network
    split, manifest = open_split(data, chosen.split), read_manifest(data)
    engine.require_enough(split.images, chosen.split)
    extractor = build_extractor(chosen.features, weights=weights, download=download, device=team.device)
    with (
        stage.work("reference", params, [data / images_file(chosen.split)], team) as work,
        stage.recorded("reference", params, team, standard) as recorder,
        stage.progress("reference", len(split.images), "images", team.first) as bar,
    ):
        images = real_images(split.images, extractor.name)
        rows = stored_features(image_set(images), extractor, chosen.batch, work, "real", team, bar.update)
        if team.first:
            dim = extractor.kind.dim or rows.shape[1]
            found = engine.write_reference(out, rows, dim, engine.identity_of(manifest, chosen.split, extractor))
            recorder.numbers = _record(out, folder, found)
            recorder.artifacts = [folder / "reference.json"]
    if team.first:
        _say(out, found)


def _record(out: Path, folder: Path, found: "Statistics") -> dict[str, Any]:
    from ddpm.digest import file_sha256
    from ddpm.experiment.workspace import write_json

    numbers = {"num_images": found.num_images, "sha256": file_sha256(out), "identity": dict(found.identity)}
    write_json(folder / "reference.json", numbers)
    return numbers


def _say(out: Path, found: "Statistics") -> None:
    features, count = found.identity["features"], found.num_images
    click.echo(f"{out}: {features} statistics of {count:,} images. Next: python -m ddpm train")
