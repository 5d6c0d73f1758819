"""ddpm sample: weights -> one uint8 array of images."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights to sample from; they know their net and schedule.")
@stage.path_option("--out", stage.SAMPLES, "Folder for images.npy and labels.npy.")
@stage.results_option("sample.json")
@stage.devices_option
@stage.device_option
def sample(
    params_path: Path,
    overrides: tuple[str, ...],
    checkpoint: Path,
    out: Path,
    results: Path | None,
    devices: str,
    device: str,
) -> None:
    """Draw sample.num_images images; image i depends on (weights, sampler, seed, i) only.

    \b
    Example:
      python -m ddpm sample -S sample.steps=20 -S sample.num_images=100 --out work/twenty_steps
    """
    params = stage.load_params(params_path, overrides)
    if stage.spread(devices, device):
        return
    folder = stage.results_folder(results, out, stage.SAMPLES)

    from ddpm.engine import sample as engine
    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.distributed import join
    from ddpm.experiment.workspace import copy_file, require_writable, write_json

    standard = stage.is_standard(c=(checkpoint, stage.WEIGHTS), out=(out, stage.SAMPLES), f=(folder, stage.RESULTS))
    with join(device) as team:
        loaded = load_checkpoint(checkpoint)
        engine.require_settings(loaded, params.sample, team.device)
        for target in (out / "images.npy", folder / "sample.json"):
            require_writable(target)
        with (
            stage.work("sample", params, [checkpoint], team) as work,
            stage.recorded("sample", params, team, standard) as recorder,
            stage.progress("sample", params.sample.num_images, "images", team.first) as bar,
        ):
            drawn = engine.sample_images(loaded, params.sample, work, team, bar.update)
            if team.first:
                copy_file(drawn.path, out / "images.npy")
                engine.save_labels(out / "labels.npy", loaded, params.sample.num_images)
                recorder.numbers = engine.describe(loaded, params.sample, checkpoint, out / "images.npy", drawn.nfe)
                recorder.artifacts = [folder / "sample.json"]
                write_json(folder / "sample.json", recorder.numbers)
    if team.first:
        click.echo(f"{out}: {params.sample.num_images:,} images in images.npy. Next: python -m ddpm evaluate")
