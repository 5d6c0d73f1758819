"""ddpm figures: everything -> pictures."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights for the denoising strip.")
@stage.path_option("--samples", stage.SAMPLES / "images.npy", "Samples for the grids.")
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--curve", stage.RESULTS / "train.csv", "Training curve.")
@stage.path_option("--metrics", stage.RESULTS / "metrics.json", "Metrics for the captions.")
@stage.path_option("--out", stage.RESULTS / "figures", "Folder for the pictures.")
@stage.device_option
def figures(
    params_path: Path,
    overrides: tuple[str, ...],
    checkpoint: Path,
    samples: Path,
    data: Path,
    curve: Path,
    metrics: Path,
    out: Path,
    device: str,
) -> None:
    """Draw the sample grid, the curves, and both processes step by step.

    \b
    Example:
      python -m ddpm figures -S figures.zoom=8 --out work/large_figures
    """
    params = stage.load_params(params_path, overrides)

    import json

    import numpy as np

    from ddpm.data.store import open_split
    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.device import pick_device
    from ddpm.engine.distributed import alone
    from ddpm.engine.figures import Material, draw_figures, figures_of
    from ddpm.experiment.workspace import require_writable

    place = pick_device(device)
    loaded = load_checkpoint(checkpoint)
    trained_here = loaded.step > 0  # `import` writes 0: results/train.csv, if any, is the curve of another net
    stage.require_files(*([curve] if trained_here else []), metrics)
    images = stage.load_array(samples)
    wanted = params.figures.grid_rows * params.figures.grid_columns
    if len(images) < wanted:
        raise ValueError(
            f"{samples}: figures.grid_rows * grid_columns = {wanted} needs as many samples, got {len(images)}"
        )
    material = Material(
        figures=params.figures,
        sample=params.sample,
        checkpoint=loaded,
        samples=images[:wanted],
        real=np.asarray(open_split(data, "train").images[: max(wanted, params.figures.strip_images)]),
        curve=curve if trained_here else None,
        metrics=json.loads(metrics.read_text()),
        device=place,
    )
    require_writable(out / "samples.png")
    inputs = (stage.WEIGHTS, stage.SAMPLES / "images.npy", stage.PREPARED)
    small = (stage.RESULTS / "train.csv", stage.RESULTS / "metrics.json", stage.RESULTS / "figures")
    standard = (checkpoint, samples, data) == inputs and (curve, metrics, out) == small
    with (
        stage.recorded("figures", params, alone(place), standard) as recorder,
        stage.progress("figures", len(figures_of(material)), "figures") as bar,
    ):
        recorder.artifacts = draw_figures(material, out, bar.update)
    click.echo(f"{out}: {', '.join(path.name for path in recorder.artifacts)}")
