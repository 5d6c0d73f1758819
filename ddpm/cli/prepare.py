"""ddpm prepare: raw images -> one uint8 array per split, labels and a manifest."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--out", stage.PREPARED, "Folder for the arrays and the manifest.")
@click.option("--raw", type=click.Path(path_type=Path), help="Folder of the downloads.  [default: data/raw/SOURCE]")
@stage.results_option("prepare.json")
@click.option("--workers", type=click.IntRange(min=1), help="Decoding processes.  [default: all cores]")
def prepare(
    params_path: Path,
    overrides: tuple[str, ...],
    out: Path,
    raw: Path | None,
    results: Path | None,
    workers: int | None,
) -> None:
    """Crop, resize and store the images of data.source.

    Nothing is downloaded: data/README.md says what to get and where to put it.

    Example:

        python -m ddpm prepare -S data.image_size=8 --out work/digits8
    """
    import os

    from ddpm.engine.prepare import prepare as run
    from ddpm.experiment.workspace import project_root, require_writable, write_json

    params = stage.load_params(params_path, overrides)
    folder = stage.results_folder(results, out, stage.PREPARED)
    for place in (out / "train.npy", folder / "prepare.json"):
        require_writable(place)
    source = raw or project_root() / "data" / "raw" / params.data.source
    standard = stage.is_standard(out=(out, stage.PREPARED), folder=(folder, stage.RESULTS)) and raw is None
    with (
        stage.recorded("prepare", params, None, standard) as recorder,
        stage.progress("prepare", 0, "images") as bar,
    ):
        manifest = run(
            params.data, source, out, workers=workers or os.cpu_count() or 1, announce=bar.reset, tick=bar.update
        )
        recorder.numbers = manifest
        recorder.artifacts = [folder / "prepare.json"]
        write_json(folder / "prepare.json", manifest)
    counts = ", ".join(f"{name} {split['images']:,}" for name, split in manifest["splits"].items())
    click.echo(
        f"{out}: {counts} images of {params.data.image_size}x{params.data.image_size}. Next: python -m ddpm reference"
    )
