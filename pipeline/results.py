"""The table of results in the README: what was measured here beside what was published, made from files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from ddpm.experiment.workspace import write_bytes

BEGIN = "<!-- python -m pipeline.results --write: begin -->"
END = "<!-- end -->"
HEAD = ("recipe", "metric", "here", "published")
RECIPES, PUBLISHED = Path("pipeline/recipes"), Path("pipeline/published.yaml")
NOT_MEASURED = "not measured"


def rows(root: Path) -> list[tuple[str, str, str, str]]:
    """One row for each recipe, in the order of their names; the recipe in params.yaml shows results/metrics.json."""
    published, current = _yaml(root / PUBLISHED), _yaml(root / "params.yaml")
    found = []
    for path in sorted((root / RECIPES).glob("*.yaml")):
        recipe = _yaml(path)
        name = metric(recipe)
        here = NOT_MEASURED
        if recipe == current and (root / "results/metrics.json").is_file():
            here = measured(json.loads((root / "results/metrics.json").read_text()), name)
        found.append((f"`{path.stem}`", f"`{name}`", here, beside(published.get(path.stem, []))))
    return found


def metric(recipe: Mapping[str, Any]) -> str:
    """The distance that a recipe measures, with its count: FID where the features are those of the FID network."""
    names = {"inception": "fid", "pytorch-fid": "fid"}
    features = recipe["reference"]["features"]
    return f"{names.get(features, f'frechet_{features}')}@{recipe['evaluate']['num_images']}"


def measured(metrics: Mapping[str, Any], name: str) -> str:
    """A distance with its interval, and what real images score at the count at which they can be compared.

    Args:
        metrics: results/metrics.json.
        name: such as `frechet_pixels@500`.
    """
    if name not in metrics:
        return NOT_MEASURED
    record = metrics[name]
    text = f"{record['value']:.4f}"
    if interval := record.get("interval"):
        text += f", 95 % interval {interval['low']:.4f} to {interval['high']:.4f}"
    for key, floor in metrics.items():
        if key.startswith(f"{name.partition('@')[0]}_floor@"):
            count = floor["num_images"]
            text += f"; {count} held-out real images score {floor['value']:.4f}"
            text += f", {count} of the samples {floor['samples_at_this_count']:.4f}"
    return text


def beside(published: list[Mapping[str, Any]]) -> str:
    """Published numbers with what was different; a sample count that differs is a difference."""
    return "; ".join(map(_quoted, published)) or "none"


def _quoted(each: Mapping[str, Any]) -> str:
    return f"{each['value']} with {each['images']:,} samples, {each['note']} ({each['source']})"


def as_markdown(table: list[tuple[str, str, str, str]]) -> str:
    """The table, rows in order."""
    lines = [HEAD, ("---",) * len(HEAD), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def into(text: str, table: str) -> str:
    """A page with the table between its two marks.

    Raises:
        ValueError: the marks are missing.
    """
    if text.count(BEGIN) != 1 or END not in text.partition(BEGIN)[2]:
        raise ValueError(f"README.md: must hold one `{BEGIN}` and then `{END}`; put them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


@click.command()
@click.option("--write", is_flag=True, help="Put the table into README.md instead of printing it.")
def main(write: bool) -> None:
    """Make the table of results of the README from params.yaml, results/metrics.json and pipeline/published.yaml.

    Example:

        python -m pipeline.results --write
    """
    table, page = as_markdown(rows(Path())), Path("README.md")
    if not write:
        click.echo(table)
        return
    try:
        text = into(page.read_text(), table)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    write_bytes(page, text.encode())
    click.echo("README.md: the table of results is up to date")


if __name__ == "__main__":
    main()
