"""ddpm figure NAME: one picture, with options of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import click

from ddpm.cli import stage
from ddpm.figures import FIGURES

if TYPE_CHECKING:
    from ddpm.figures.figure import Figure

INPUTS = {
    "checkpoint": (stage.WEIGHTS, "Weights, from `train` or `import`."),
    "samples": (stage.SAMPLES / "images.npy", "Samples."),
    "data": (stage.PREPARED, "Folder of prepared images."),
    "curve": (stage.RESULTS / "train.csv", "Training curve."),
    "metrics": (stage.RESULTS / "metrics.json", "Metrics."),
    "statistics": (stage.STATISTICS, "Statistics of real images."),
}
"""Option -> its default place and its line of help."""
READ_BY = {"train": "data", "held_out": "data", "sample": "params"}
"""What a figure needs -> the option that names it, where the two differ."""


class FigureCommands(click.Group):
    """Loads a figure, and torch with it, when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the table."""
        return list(FIGURES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Make the command from the figure's docstring and options."""
        return make_command(cmd_name) if cmd_name in FIGURES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The overview, without importing any figure."""
        with formatter.section("Figures"):
            formatter.write_dl(list(FIGURES.items()))


@click.command(cls=FigureCommands, name="figure")
def figure() -> None:
    """Draw one figure from a checkpoint, data or results. Nothing is recorded; the picture says how it was made.

    \b
    Example:
      python -m ddpm figure denoising --out work/denoising.png
    """


def make_command(name: str) -> click.Command:
    """The command of a figure: the inputs it needs, its options, --out and --device."""
    import sys

    from ddpm.figures.figure import load

    loaded = load(name)
    fields = dataclasses.fields(loaded.options)  # type: ignore[arg-type]
    inputs = {READ_BY.get(need, need) for need in loaded.needs}

    def command(**given: Any) -> None:
        draw_one(name, loaded, given, {field.name: given[field.name] for field in fields})

    command = stage.device_option(command)
    for field in reversed(fields):
        command = own_option(field, get_type_hints(loaded.options)[field.name])(command)
    formats = "its suffix decides: .webp, .gif, .mp4, .webm, or .png for a still" if loaded.moving else "a PNG"
    default = Path("work/figures") / f"{name}{'.webp' if loaded.moving else '.png'}"
    command = click.option(
        "--out",
        "outs",
        type=click.Path(path_type=Path),
        multiple=True,
        default=[default],
        show_default=True,
        help=f"The picture, {formats}; repeatable." if loaded.moving else f"The picture, {formats}.",
    )(command)
    for key in reversed([key for key in INPUTS if key in inputs]):
        command = stage.path_option(f"--{key}", *INPUTS[key])(command)
    text = sys.modules[loaded.draw.__module__].__doc__
    return click.command(name=name, help=text)(stage.params_options(command))


def own_option(field: Any, kind: Any) -> Any:
    """The click option of a field of `Options` (a `dataclasses.Field`)."""
    flag, about = f"--{field.name.replace('_', '-')}", field.metadata
    name = field.name  # given, too: click would make beta_t of --beta-T
    texts = {"help": about["help"], "default": field.default, "show_default": True}
    if get_origin(kind) is Literal:
        return click.option(flag, name, type=click.Choice(get_args(kind)), **texts)
    if kind is bool:
        return click.option(f"{flag}/{flag.replace('--', '--no-', 1)}", name, **texts)
    if get_origin(kind) is tuple:
        inner = number_type(get_args(kind)[0], about)
        shown = ",".join(f"{number:g}" for number in field.default)
        texts |= {"default": shown, "show_default": bool(shown), "metavar": "N,N,..."}
        return click.option(flag, name, callback=lambda ctx, option, text: list_of(inner, option, ctx, text), **texts)
    return click.option(flag, name, type=str if kind is str else number_type(kind, about), **texts)


def number_type(kind: type, about: Any) -> click.ParamType[Any, Any]:
    """int or float within its range."""
    if kind is int:
        return click.IntRange(about["least"], about["most"])
    return click.FloatRange(about["least"], about["most"])


def list_of(
    inner: click.ParamType[Any, Any], option: click.Parameter, ctx: click.Context, text: str
) -> tuple[Any, ...]:
    """`1,2,3` as numbers; nothing is an empty tuple."""
    return tuple(inner.convert(part.strip(), option, ctx) for part in text.split(",") if part.strip())


def draw_one(name: str, loaded: Figure[Any], given: dict[str, Any], options: dict[str, Any]) -> None:
    """Check the outputs, open what is needed, draw, and write every format."""
    params = stage.load_params(given["params_path"], given["overrides"])

    from ddpm.engine.device import pick_device
    from ddpm.experiment.workspace import require_writable
    from ddpm.figures.figure import describe, require_format, require_material, save
    from ddpm.figures.material import Material, Places

    for out in given["outs"]:
        require_format(name, loaded, out)
        require_writable(out)
    places = Places(**{key: given.get(key, default) for key, (default, _) in INPUTS.items()})
    material = Material(params.figures, params.sample, places, pick_device(given["device"]), track)
    chosen = loaded.options(**options)
    require_material(loaded, material)
    picture = loaded.draw(material, chosen)
    for out in given["outs"]:
        save(picture, out, describe(name, loaded, material, chosen))
    click.echo(f"{', '.join(map(str, given['outs']))}: {FIGURES[name]}")


def track(things: Iterable[Any], what: str) -> Iterator[Any]:
    """A progress bar over what a figure loops over."""
    listed = list(things)
    with stage.progress("figure", len(listed), what) as bar:
        for thing in listed:
            yield thing
            bar.update(1)
