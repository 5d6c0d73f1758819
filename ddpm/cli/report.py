"""ddpm report: the files of an experiment -> one page."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=stage.RESULTS / "report.html", show_default=True, help="The page."
)
def report(out: Path) -> None:
    """Write a page of the experiment in this folder: what was run, numbers, figures, data, digests, timings.

    It needs no network and no other file. The stage `figures` writes it, too.

    \b
    Example:
      python -m ddpm report --out work/for_a_mail.html
    """
    write_page(out)


def write_page(out: Path) -> None:
    """Write the page and say where it is; also the stage `figures` calls this, which does not depend on the page."""
    from ddpm.engine.report import collect
    from ddpm.experiment.workspace import project_root, require_writable, write_bytes
    from ddpm.report.page import render

    require_writable(out)
    write_bytes(out, render(collect(Path(), project_root())).encode())
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB. Open it in a browser")
