"""ddpm prepare: raw images -> images and labels of two splits, and a manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpm.cli import stage
from ddpm.cli.download import download_option, fetch

if TYPE_CHECKING:
    from ddpm.experiment.params import Params

SWITCH_SECONDS = 0.0005
"""A tenth of Python's: the thread that digests an archive wants the interpreter seldom, shortly, and soon."""


@click.command()
@stage.params_options
@stage.path_option("--out", stage.PREPARED, "Folder for the arrays and the manifest.")
@click.option(
    "--raw", type=click.Path(path_type=Path), help="Folder or archive of the downloads.  [default: data/raw/NAME]"
)
@download_option
@stage.results_option("prepare.json")
@click.option("--workers", type=click.IntRange(min=1), help="Decoding processes.  [default: all cores]")
def prepare(
    params_path: Path,
    overrides: tuple[str, ...],
    out: Path,
    raw: Path | None,
    download: bool,
    results: Path | None,
    workers: int | None,
) -> None:
    """Crop, resize and store the images of data.source, read from data/raw/NAME (data.name).

    Folders, zips and tars are read alike, and nothing is unpacked. Work that was killed goes on where it was.
    data/README.md says what to get and where to put it.

    \b
    Example:
      python -m ddpm prepare -S data.image_size=8 --out work/digits8
      python -m ddpm prepare -S data.source=folder -S data.name=flowers --raw work/flowers.zip --out work/flowers
    """
    import os
    import sys

    from ddpm.engine.prepare import prepare as run
    from ddpm.experiment.workspace import project_root, require_writable, write_json

    params = stage.load_params(params_path, overrides)
    folder = stage.results_folder(results, out, stage.PREPARED)
    for place in (out / "train.npy", folder / "prepare.json"):
        require_writable(place)
    source = raw or project_root() / "data" / "raw" / params.data.name
    if download:
        fetch(params.data.source, params.data.name, source)
    standard = stage.is_standard(out=(out, stage.PREPARED), folder=(folder, stage.RESULTS)) and raw is None
    with (
        stage.recorded("prepare", params, None, standard) as recorder,
        _work(params) as work,
        stage.progress("prepare", 0, "images") as bar,
    ):
        cores = workers or len(os.sched_getaffinity(0))
        sys.setswitchinterval(SWITCH_SECONDS)
        manifest = run(params.data, source, out, work, workers=cores, announce=bar.reset, tick=bar.update)
        recorder.numbers = manifest
        recorder.artifacts = [folder / "prepare.json"]
        write_json(folder / "prepare.json", manifest)
    click.echo(_summary(out, manifest))


@contextmanager
def _work(params: "Params") -> Iterator[Path]:
    """The folder of unfinished work; what happens at errors is no part of its name, since it changes no image."""
    from ddpm.experiment.fingerprint import work_fingerprint
    from ddpm.experiment.workspace import project_root, work_folder

    tree = params.model_dump()
    tree["data"].pop("on_error")
    fingerprint = work_fingerprint("prepare", tree, [], Path.cwd(), "cpu")
    with work_folder("prepare", fingerprint, project_root()) as folder:
        yield folder


def _summary(out: Path, manifest: dict[str, Any]) -> str:
    """The last lines: what is there, what should be looked at, and what comes next."""
    splits, size = manifest["splits"], manifest["size"]
    counts = ", ".join(f"{name} {split['images']:,}" for name, split in splits.items())
    lines = [f"{out}: {counts} images of {'x'.join(map(str, size)) if isinstance(size, list) else f'{size}x{size}'}."]
    if skipped := sum(len(split["skipped"]) for split in splits.values()):
        lines.append(f"{skipped:,} images could not be decoded and were skipped; the manifest names them.")
    found = manifest["duplicates"]["pixels"]
    if found["repeated"]:
        lines.append(
            f"{found['repeated']:,} images repeat an earlier one, {found['held_out_in_train']:,} held-out ones are "
            "trained on, too; the manifest names some."
        )
    lines.append(f"Look at them: python -m ddpm data describe --data {out}. Next: python -m ddpm reference")
    return "\n".join(lines)
