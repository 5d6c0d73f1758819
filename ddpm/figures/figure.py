"""What every figure says of itself, and how it gets from a name to a file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from PIL import Image

from ddpm.drawing.animation import FORMATS, Animation
from ddpm.drawing.png import save_png
from ddpm.experiment.workspace import atomic_path
from ddpm.figures import FIGURES
from ddpm.figures.material import Material

Options = TypeVar("Options")
Picture = Image.Image | Animation


@dataclass(frozen=True)
class Figure(Generic[Options]):
    """A figure.

    Attributes:
        caption: what one sees, in one to three sentences; also the text for readers who do not see it.
        options: a frozen dataclass of `ddpm.figures.options.option` fields.
        draw: material and options -> an image, or an animation where `moving`.
        needs: what of the material it reads: checkpoint, sample, train, held_out, samples, curve, metrics,
            statistics.
    """

    caption: str
    options: Callable[..., Options]
    draw: Callable[[Material, Options], Picture]
    needs: tuple[str, ...]
    moving: bool = False


def load(name: str) -> "Figure[Any]":
    """The figure of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in FIGURES:
        raise ValueError(f"figure must be one of {', '.join(FIGURES)}, got {name}")
    figure: Figure[Any] = import_module(f"ddpm.figures.{name.replace('-', '_')}").FIGURE
    return figure


def require_material(figure: "Figure[Any]", material: Material) -> None:
    """Open everything that a figure needs, so that what is missing is said before any work.

    Raises:
        ValueError: the first thing that is missing.
    """
    for need in figure.needs:
        getattr(material, need)


def require_format(name: str, figure: "Figure[Any]", path: Path) -> None:
    """Refuse a file whose format cannot hold the figure.

    Raises:
        ValueError: the suffix is none of those that can.
    """
    allowed = [".png", *FORMATS] if figure.moving else [".png"]
    if path.suffix not in allowed:
        raise ValueError(f"{path}: the figure {name} goes into {', '.join(allowed)}, got {path.suffix or 'no suffix'}")


def describe(name: str, figure: "Figure[Any]", material: Material, options: Any) -> dict[str, str]:
    """What made a figure, for the text chunks of its file."""
    itself = {"name": name, "title": FIGURES[name], "caption": figure.caption, "options": asdict(options)}
    return {"ddpm.figure": json.dumps(itself, ensure_ascii=False, sort_keys=True), **material.about(figure.needs)}


def save(picture: Picture, path: Path, about: dict[str, str]) -> None:
    """Write a picture in the format of the suffix; of an animation, .png holds the still."""
    with atomic_path(path) as temporary:
        if isinstance(picture, Animation) and path.suffix != ".png":
            FORMATS[path.suffix](picture, temporary, about)
        else:
            save_png(picture.frames[picture.still] if isinstance(picture, Animation) else picture, temporary, about)
