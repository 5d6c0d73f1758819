"""ddpm figures: everything -> pictures."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights, from `train` or `import`.")
@stage.path_option("--samples", stage.SAMPLES / "images.npy", "Samples for the grids.")
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--curve", stage.RESULTS / "train.csv", "Training curve.")
@stage.path_option("--metrics", stage.RESULTS / "metrics.json", "Metrics for the captions.")
@stage.path_option("--statistics", stage.STATISTICS, "Statistics of real images, and their features beside them.")
@stage.path_option("--out", stage.RESULTS / "figures", "Folder for the pictures.")
@stage.device_option
def figures(params_path: Path, overrides: tuple[str, ...], out: Path, device: str, **inputs: Path) -> None:
    """Draw the figures that figures.names lists. `python -m ddpm figure NAME` draws one, with options of its own.

    \b
    Example:
      python -m ddpm figures -S 'figures.names=[samples, denoising]' --out work/two_figures
    """
    params = stage.load_params(params_path, overrides)

    from ddpm.cli.report import write_page
    from ddpm.engine.device import pick_device
    from ddpm.engine.distributed import alone
    from ddpm.experiment.workspace import require_writable
    from ddpm.figures.material import Material, Places
    from ddpm.figures.stage import draw_figures, drawable

    place = pick_device(device)
    material = Material(params.figures, params.sample, Places(**inputs), place)
    names = drawable(material)
    for name in set(params.figures.names).difference(names):
        click.echo(f"figures: no {name}; the checkpoint was not trained here, so it has no curve", err=True)
    require_writable(out / "samples.png")
    given = (*inputs.values(), out)
    standard = given == (
        stage.WEIGHTS,
        stage.SAMPLES / "images.npy",
        stage.PREPARED,
        stage.RESULTS / "train.csv",
        stage.RESULTS / "metrics.json",
        stage.STATISTICS,
        stage.RESULTS / "figures",
    )
    with (
        stage.recorded("figures", params, alone(place), standard) as recorder,
        stage.progress("figures", len(names), "figures") as bar,
    ):
        recorder.artifacts = draw_figures(material, names, out, bar.update)
    click.echo(f"{out}: {', '.join(path.name for path in recorder.artifacts)}")
    if standard:
        write_page(stage.RESULTS / "report.html")
