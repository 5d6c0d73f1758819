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
    device: str,
) -> None:
    """Measure the distance between samples and real images, in the features of the reference.

    The metric is called fid only with the canonical Inception network; pixels give frechet_pixels.

    \b
    Example:
      python -m ddpm evaluate --samples work/twenty_steps/images.npy --out work/twenty_steps/metrics.json
    """
    params = stage.load_params(params_path, overrides)

    from ddpm.data.store import open_split
    from ddpm.engine.device import pick_device, set_determinism
    from ddpm.engine.evaluate import evaluate as run
    from ddpm.experiment.workspace import require_writable, write_json
    from ddpm.metrics.features import build_extractor
    from ddpm.metrics.statistics import load_statistics

    chosen, place = params.evaluate, pick_device(device)
    set_determinism(deterministic=True)
    images, statistics = stage.load_array(samples), load_statistics(reference)
    if len(images) < chosen.num_images:
        raise ValueError(f"{samples}: evaluate.num_images {chosen.num_images} needs as many samples, got {len(images)}")
    images = images[: chosen.num_images]
    held_out = open_split(data, "valid").images[: chosen.num_images] if chosen.floor else None
    extractor = build_extractor(statistics.identity["features"], weights=weights, download=download, device=place)
    require_writable(out)
    defaults = (stage.SAMPLES / "images.npy", stage.STATISTICS, stage.PREPARED, stage.RESULTS / "metrics.json")
    standard = (samples, reference, data, out) == defaults
    with (
        stage.recorded("evaluate", params, place.type, standard) as recorder,
        stage.progress("evaluate", len(images) + (0 if held_out is None else len(held_out)), "images") as bar,
    ):
        recorder.numbers = run(images, held_out, statistics, extractor, chosen.batch, bar.update)
        recorder.artifacts = [out]
        write_json(out, recorder.numbers)
    for name, record in recorder.numbers.items():
        click.echo(f"{name}@{record['num_images']}: {record['value']:.4f}  ({record['grade']})")
    click.echo(f"{out}: done. Next: python -m ddpm figures")
