"""ddpm reference: prepared images -> feature statistics, once per data set."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--out", stage.STATISTICS, "Statistics file (npz with mu, sigma, num_images, identity).")
@stage.results_option("reference.json")
@stage.weights_options
@stage.devices_option
@stage.device_option
def reference(
    params_path: Path,
    overrides: tuple[str, ...],
    data: Path,
    out: Path,
    results: Path | None,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Reduce the features of real images to mean and covariance.

    \b
    Example:
      python -m ddpm reference -S reference.features=inception --weights pt_inception-2015-12-05-6726825d.pth
    """
    params = stage.load_params(params_path, overrides)
    if stage.spread(devices, device):
        return
    folder = stage.results_folder(results, out, stage.STATISTICS)

    from ddpm.data.store import images_file, open_split, read_manifest
    from ddpm.digest import file_sha256
    from ddpm.engine.device import set_determinism
    from ddpm.engine.distributed import join
    from ddpm.engine.features import stored_features
    from ddpm.engine.reference import reference_statistics, require_enough
    from ddpm.experiment.workspace import atomic_path, require_writable, write_json
    from ddpm.metrics.features import build_extractor
    from ddpm.metrics.statistics import save_statistics

    chosen = params.reference
    standard = stage.is_standard(data=(data, stage.PREPARED), out=(out, stage.STATISTICS), f=(folder, stage.RESULTS))
    with join(device) as team:
        set_determinism(deterministic=True)
        split, manifest = open_split(data, chosen.split), read_manifest(data)
        require_enough(split.images, chosen.split)
        extractor = build_extractor(chosen.features, weights=weights, download=download, device=team.device)
        for target in (out, folder / "reference.json"):
            require_writable(target)
        with (
            stage.work("reference", params, [data / images_file(chosen.split)], team) as work,
            stage.recorded("reference", params, team, standard) as recorder,
            stage.progress("reference", len(split.images), "images", team.first) as bar,
        ):
            rows = stored_features(split.images, extractor, chosen.batch, work, "real", team, bar.update)
            if team.first:
                found = reference_statistics(rows, manifest, chosen.split, extractor)
                with atomic_path(out) as temporary:
                    save_statistics(temporary, found.mean, found.covariance, found.num_images, found.identity)
                recorder.numbers = {
                    "num_images": found.num_images,
                    "sha256": file_sha256(out),
                    "identity": dict(found.identity),
                }
                recorder.artifacts = [folder / "reference.json"]
                write_json(folder / "reference.json", recorder.numbers)
    if team.first:
        count = recorder.numbers["num_images"]
        click.echo(f"{out}: {extractor.name} statistics of {count:,} images. Next: python -m ddpm train")
