"""ddpm recipe: choose a documented experiment."""

from pathlib import Path

import click

from ddpm.nets.presets import PRESETS

RECIPES = Path(__file__).resolve().parents[2] / "pipeline" / "recipes"


@click.command()
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="Describe every recipe: size, cost, memory.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Where to write."
)
@click.option("--net", type=click.Choice(list(PRESETS)), help="Take this network; labels stay those of the recipe.")
@click.option("-S", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one parameter; repeatable.")
def recipe(name: str | None, listing: bool, out: Path, net: str | None, overrides: tuple[str, ...]) -> None:
    """Validate the recipe NAME and write it to params.yaml.

    A network of --net replaces the section `model`; -S is applied after it.

    \b
    Example:
      python -m ddpm recipe celeba64
      python -m ddpm recipe celeba64 --net ho-256
      python -m ddpm recipe quick -S train.steps=1000
      python -m ddpm recipe --list
    """
    from ddpm.digest import file_sha256
    from ddpm.experiment.params_file import load, override_text, replace_section
    from ddpm.experiment.workspace import write_bytes

    files = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
    if listing:
        from ddpm.engine.recipes import describe

        for path in files.values():
            click.echo(describe(path))
        return
    if name is None:
        raise click.UsageError(f"name a recipe: {', '.join(files)}; or --list")
    if name not in files:
        raise click.UsageError(f"there is no recipe {name!r}; the recipes are {', '.join(files)}")
    # How many classes there are is a matter of the images, not of the network.
    chosen = [f"model.{key}={value}" for key, value in PRESETS[net].items() if key != "num_classes"] if net else []
    params = load(files[name], [*chosen, *overrides])
    known = {path.read_bytes() for path in files.values()}
    if out.is_file() and out.read_bytes() not in known:
        kept = out.with_name(f"{out.stem}.{file_sha256(out)[:8]}{out.suffix}")
        write_bytes(kept, out.read_bytes())
        click.echo(f"{kept}: your edited {out.name} is kept here", err=True)
    text = files[name].read_text()
    if net:
        model = PRESETS[net] | {"num_classes": params.model.num_classes}
        text = replace_section(text, "model", model, f"{net}, see ddpm/nets/presets.py")
    write_bytes(out, override_text(text, overrides).encode())
    click.echo(f"{out}: recipe {name}{f' with the net {net}' if net else ''}. Next: dvc repro")
