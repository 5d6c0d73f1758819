"""The figures of the stage: those that `figures.names` lists, into one folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ddpm.drawing.animation import Animation
from ddpm.figures.figure import describe, load, require_material, save
from ddpm.figures.material import Material


def drawable(material: Material) -> list[str]:
    """The names of `figures.names`, without those that need the training curve of a net that was trained elsewhere.

    `import` writes step 0: results/train.csv, if there is one, is then the curve of another net.
    """
    names = list(material.figures.names)
    return [name for name in names if material.checkpoint.step > 0 or "curve" not in load(name).needs]


def draw_figures(material: Material, names: Sequence[str], out: Path, tick: Callable[[int], object]) -> list[Path]:
    """Draw figures with their default options; an animation as NAME.webp, with its still as NAME.png.

    Returns:
        The files, in the order of the names.

    Raises:
        ValueError: something that one of them needs is missing; nothing was drawn.
    """
    figures = {name: load(name) for name in names}
    for figure in figures.values():
        require_material(figure, material)
    paths = []
    for name, figure in figures.items():
        options = figure.options()
        picture = figure.draw(material, options)
        for suffix in (".webp", ".png") if isinstance(picture, Animation) else (".png",):
            paths.append(out / f"{name}{suffix}")
            save(picture, paths[-1], describe(name, figure, material, options))
        tick(1)
    return paths
