"""ddpm seeds: the distance of one checkpoint over several sampling seeds, with mean and standard deviation."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights to sample from.")
@stage.path_option("--reference", stage.STATISTICS, "Statistics of the real images.")
@click.option(
    "--count", type=click.IntRange(min=2), default=3, show_default=True, help="Seeds, from sample.seed upwards."
)
@stage.path_option("--out", Path("work/seeds.json"), "Where the numbers go.")
@stage.weights_options
@stage.devices_option
@stage.device_option
def seeds(
    params_path: Path,
    overrides: tuple[str, ...],
    checkpoint: Path,
    reference: Path,
    count: int,
    out: Path,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Draw sample.num_images images for each of several seeds and measure their distance to the reference.

    A killed run goes on where it was.

    \b
    Example:
      python -m ddpm seeds --count 3 -S sample.num_images=500
    """
    params = stage.load_params(params_path, overrides)
    if stage.spread(devices, device):
        return

    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.choose import protocol_of
    from ddpm.engine.device import set_determinism
    from ddpm.engine.distributed import join
    from ddpm.engine.sample import require_settings
    from ddpm.engine.seeds import measure_seeds, spread
    from ddpm.experiment.workspace import require_writable, write_json

    stage.require_files(checkpoint, reference)
    require_writable(out)
    numbers, images = range(params.sample.seed, params.sample.seed + count), params.sample.num_images
    with join(device) as team:
        set_determinism(deterministic=True)
        require_settings(load_checkpoint(checkpoint), params.sample, team.device)
        protocol = protocol_of(params, reference, (weights, download), team.device)
        with (
            stage.joint_work("seeds", params, [checkpoint, reference], team) as work,
            stage.progress("seeds", count * images, "images", team.first) as bar,
        ):
            found = measure_seeds(checkpoint, protocol, numbers, work, team, bar.update)
            whole = spread(numbers, found)
            if team.first:
                write_json(out, whole)
    if team.first:
        for seed, record in whole["seeds"].items():
            click.echo(f"seed {seed}: {record['name']} {record['value']:.4f}  ({record['grade']})")
        click.echo(f"{whole['name']}: {whole['mean']:.4f} +- {whole['std']:.4f} over {count} seeds")
        click.echo(f"{out}: done. Next: python -m ddpm figures")
