"""--download of data sets: the option of `prepare`, and the call behind it with a progress bar in bytes."""

import sys
from functools import partial
from pathlib import Path

import click

from ddpm.cli import stage


def download_option(command: stage.Command) -> stage.Command:
    """--download for the commands that read raw images."""
    return click.option(
        "--download",
        is_flag=True,
        help="Fetch the published files that are not there, where torchvision can; a broken download is continued.",
    )(command)


def fetch(source: str, name: str, folder: Path) -> None:
    """Download what a data set needs into its raw folder.

    Args:
        source, name: `data.source` and `data.name` of the parameters.
        folder: as `--raw` has it.

    Raises:
        ValueError: nobody delivers it; the message says how to get it by hand.
    """
    from tqdm import tqdm

    from ddpm.engine.download import download

    with stage.progress("download", 0, "B") as bar:
        say = partial(tqdm.write, file=sys.stderr)  # above the bar
        download(source, name, folder, announce=say, total=bar.reset, tick=bar.update)
