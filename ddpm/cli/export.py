"""ddpm export: one of our checkpoints -> a folder of another system."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--format", "kind", type=click.Choice(["diffusers"]), default="diffusers", show_default=True, help="Of the folder."
)
@stage.params_options
def export(checkpoint: Path, out: Path, kind: str, params_path: Path, overrides: tuple[str, ...]) -> None:
    """Export CHECKPOINT to a folder of diffusers; what cannot be expressed there is refused before anything is written.

    The variance, threshold and spacing of its scheduler are those of the section `sample`.

    \b
    Example:
      python -m ddpm export data/weights/ema.safetensors --out work/diffusers -S sample.spacing=trailing
    """
    params = stage.load_params(params_path, overrides)

    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.export import export_diffusers
    from ddpm.experiment.workspace import require_writable

    loaded = load_checkpoint(checkpoint)
    require_writable(out / "model_index.json")
    click.echo(f"export: writing {out}", err=True)
    for note in export_diffusers(loaded, params.sample, out):
        click.echo(f"export: {note}", err=True)
    load = "UNet2DModel" if loaded.model.num_classes else "DDPMPipeline"
    place = out / "unet" if loaded.model.num_classes else out
    click.echo(f"{out}: a folder of {kind}. Next: {load}.from_pretrained({str(place)!r})")
