"""ddpm data: what the prepared images are, and a look at them."""

import json
from pathlib import Path

import click

from ddpm.cli import stage

PICTURES, PICTURE = Path("work/figures"), "data.png"


@click.group()
def data() -> None:
    """Look at prepared images, before hours are spent on them.

    \b
    Example:
      python -m ddpm data describe
    """


@data.command()
@stage.path_option("--data", stage.PREPARED, "Folder that `prepare` wrote.")
@click.option(
    "--split",
    type=click.Choice(["train", "valid"]),
    default="train",
    show_default=True,
    help="Whose images are shown.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The PNG.  [default: work/figures/data.png, or beside --data]"
)
@click.option(
    "--images", type=click.IntRange(1, 500), help="Show so many, at most, but one per class.  [default: a full picture]"
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another one shows other images.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as it is, and draw nothing.")
def describe(data: Path, split: str, out: Path | None, images: int | None, seed: int, as_json: bool) -> None:
    """Say what prepared images are and where they come from, and draw a card of them.

    With labels, the card has a row for each class, up to 16; without, it is a sheet.

    \b
    Example:
      python -m ddpm data describe
      python -m ddpm data describe --data work/flowers --split valid --out work/flowers.png
    """
    if as_json and out is not None:
        raise click.UsageError("--json draws nothing: leave --out out")
    from ddpm.data import store
    from ddpm.engine import describe as engine
    from ddpm.engine.manifest_lines import lines
    from ddpm.experiment.workspace import require_writable

    if as_json:
        click.echo(json.dumps(store.read_manifest(data), indent=2, sort_keys=True))
        return
    prepared = engine.open_prepared(data, split)
    standard = stage.is_standard(data=(data, stage.PREPARED))
    picture = out or (PICTURES if standard else data) / PICTURE
    require_writable(picture)
    engine.draw(prepared, picture, images, seed)
    click.echo("\n".join(lines(prepared.manifest)))
    click.echo(f"\n{picture}: images of {split}. Next: look at it, then python -m ddpm reference")
