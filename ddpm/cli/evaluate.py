"""ddpm evaluate: samples and reference statistics -> metrics.json."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--samples", stage.SAMPLES / "images.npy", "Samples: uint8 NHWC .npy.")
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
    reference: Path,
    data: Path,
    out: Path,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Measure the distance between samples and real images, in the features of the reference.

    The metric is called fid only with the canonical Inception network; pixels give frechet_pixels.

    \b
    Example:
      python -m ddpm evaluate --samples work/twenty_steps/images.npy --out work/twenty_steps/metrics.json
    """
    params = stage.load_params(params_path, overrides)
    if stage.spread(devices, device):
        return

    from ddpm.data.store import images_file, open_split
    from ddpm.engine import evaluate as engine
    from ddpm.engine.device import set_determinism
    from ddpm.engine.distributed import join
    from ddpm.engine.features import stored_features
    from ddpm.experiment.workspace import require_writable, write_json
    from ddpm.metrics.features import build_extractor
    from ddpm.metrics.statistics import load_statistics

    chosen = params.evaluate
    defaults = (stage.SAMPLES / "images.npy", stage.STATISTICS, stage.PREPARED, stage.RESULTS / "metrics.json")
    standard = (samples, reference, data, out) == defaults
    with join(device) as team:
        set_determinism(deterministic=True)
        images, statistics = stage.load_array(samples), load_statistics(reference)
        if len(images) < chosen.num_images:
            raise ValueError(
                f"{samples}: evaluate.num_images {chosen.num_images} needs as many samples, got {len(images)}"
            )
        held_out = open_split(data, "valid").images[: chosen.num_images] if chosen.floor else None
        name = statistics.identity["features"]
        extractor = build_extractor(name, weights=weights, download=download, device=team.device)
        sets = engine.image_sets(images[: chosen.num_images], held_out, statistics, extractor)
        require_writable(out)
        inputs = [samples, reference, *([data / images_file("valid")] if chosen.floor else [])]
        with (
            stage.work("evaluate", params, inputs, team) as work,
            stage.recorded("evaluate", params, team, standard) as recorder,
            stage.progress("evaluate", sum(map(len, sets.values())), "images", team.first) as bar,
        ):
            rows = {
                name: stored_features(some, extractor, chosen.batch, work, name, team, bar.update)
                for name, some in sets.items()
            }
            if team.first:
                recorder.numbers, recorder.artifacts = engine.evaluate(rows, statistics, extractor), [out]
                write_json(out, recorder.numbers)
    if team.first:
        for name, record in recorder.numbers.items():
            click.echo(f"{name}@{record['num_images']}: {record['value']:.4f}  ({record['grade']})")
        click.echo(f"{out}: done. Next: python -m ddpm figures")
