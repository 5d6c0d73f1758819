"""Draw docs/images/stages.png from the stage table: `python docs/draw_stages.py`.

Each output is a line that runs down from the stage that writes it past the stages that read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddpm.drawing.look import BLUE, GREEN, INK, MUTED, ORANGE, PAPER, RULE, as_image, page
from ddpm.drawing.png import save_png
from ddpm.experiment.stages import STAGES, Stage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = Path(__file__).parent / "images" / "stages.png"
WIDTH, ROW_HEIGHT, HEAD, FOOT = 9.95, 0.84, 0.52, 0.6  # inches
LANE_LEFT, LANE_STEP = 0.42, 0.36
NAME_LEFT, CHIPS_LEFT, FILES_LEFT = 2.25, 4.6, 7.25
CHIP_HEIGHT, CHIP_GAP, CHIP_STEP = 0.27, 0.1, 0.34
LANE_COLORS = (BLUE, ORANGE, GREEN, "#b0589a", "#a6761d")  # lanes are also told apart by their places
BAND = "#f6f8fa"
MONO = "DejaVu Sans Mono"
MONO_ADVANCE = 0.0845  # inches per character at 10 points


def describe() -> dict[str, str]:
    """Sections, upstream stages and files of each stage, as text chunks.

    A test compares them with the table, so that a stale picture is noticed.
    """
    return {
        name: f"{', '.join(stage.sections)}; {', '.join(stage.upstream) or 'none'}; {', '.join(files(stage))}"
        for name, stage in STAGES.items()
    }


def files(stage: Stage) -> list[str]:
    """What a stage writes, a folder standing for its files when there are several."""
    folders: dict[Path, list[Path]] = {}
    for path in stage.outputs:
        folders.setdefault(path.parent, []).append(path)
    data = [f"{folder.as_posix()}/" if len(paths) > 1 else paths[0].as_posix() for folder, paths in folders.items()]
    results = [path.as_posix() for path in (stage.curve, stage.numbers) if path]
    return data + results + ([f"{stage.figures.as_posix()}/*.png"] if stage.figures else [])


def draw() -> None:
    """Write the picture."""
    height = HEAD + ROW_HEIGHT * len(STAGES) + FOOT
    with page(WIDTH, height) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        titles = (
            (LANE_LEFT - 0.12, "data"),
            (NAME_LEFT, "stage"),
            (CHIPS_LEFT, "reads of params.yaml"),
            (FILES_LEFT, "writes"),
        )
        for left, title in titles:
            axes.text(left, HEAD - 0.2, title, color=MUTED, size=10.5, va="center")
        for row, stage in enumerate(STAGES.values()):
            draw_row(axes, row, stage)
        draw_lanes(axes)
        draw_legend(axes, HEAD + ROW_HEIGHT * len(STAGES) + FOOT / 2)
        save_png(as_image(figure), PICTURE, describe())


def middle(row: int) -> float:
    """The height of a row's center line."""
    return HEAD + ROW_HEIGHT * (row + 0.5)


def draw_row(axes: Axes, row: int, stage: Stage) -> None:
    """Draw a stage: band, name, command, parameter sections, files."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    y = middle(row)
    if row % 2 == 0:
        axes.add_patch(
            Rectangle((0, y - ROW_HEIGHT / 2), WIDTH, ROW_HEIGHT, facecolor=BAND, edgecolor="none", zorder=0)
        )
    axes.text(NAME_LEFT, y - 0.13, stage.name, color=INK, size=13, weight="bold", va="center")
    axes.text(NAME_LEFT, y + 0.16, f"python -m ddpm {stage.name}", color=MUTED, size=9, family=MONO, va="center")
    for line, sections in enumerate(lines := wrap(stage.sections, FILES_LEFT - CHIPS_LEFT - 0.3)):
        left, center = CHIPS_LEFT, y + (line - (len(lines) - 1) / 2) * CHIP_STEP
        for section in sections:
            box = FancyBboxPatch(
                (left, center - CHIP_HEIGHT / 2),
                chip_width(section),
                CHIP_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=PAPER,
                edgecolor="#c9d1d9",
                linewidth=0.9,
            )
            axes.add_patch(box)
            axes.text(
                left + chip_width(section) / 2, center, section, size=10, family=MONO, ha="center", va="center_baseline"
            )
            left += chip_width(section) + CHIP_GAP
    written = files(stage)
    for line, file in enumerate(written):
        center = y + (line - (len(written) - 1) / 2) * 0.23
        axes.text(FILES_LEFT, center, file, color=INK, size=10, family=MONO, va="center")
        if line == 0 and stage.name in lanes():  # what comes first is what the next stages read
            color = LANE_COLORS[lanes().index(stage.name)]
            axes.plot([FILES_LEFT - 0.16], [center], "o", markersize=6, color=color)


def lanes() -> list[str]:
    """The stages whose output another stage reads: one line each."""
    return [name for name in STAGES if any(name in stage.upstream for stage in STAGES.values())]


def chip_width(section: str) -> float:
    """Inches that a section's name and its margin take."""
    return len(section) * MONO_ADVANCE + 0.22


def wrap(sections: tuple[str, ...], width: float) -> list[list[str]]:
    """Break chips into lines of at most `width` inches."""
    lines: list[list[str]] = [[]]
    for section in sections:
        if sum(chip_width(s) + CHIP_GAP for s in [*lines[-1], section]) - CHIP_GAP > width:
            lines.append([])
        lines[-1].append(section)
    return lines


def draw_lanes(axes: Axes) -> None:
    """Draw a line per output from its writer (full dot) past its readers (open dots) to the last one."""
    rows = {name: row for row, name in enumerate(STAGES)}
    for lane, writer in enumerate(lanes()):
        x, color = LANE_LEFT + lane * LANE_STEP, LANE_COLORS[lane % len(LANE_COLORS)]
        readers = [rows[name] for name, stage in STAGES.items() if writer in stage.upstream]
        axes.plot(
            [x, x],
            [middle(rows[writer]), middle(max(readers))],
            color=color,
            linewidth=2.4,
            solid_capstyle="butt",
            zorder=2,
        )
        dot(axes, x, middle(rows[writer]), color, filled=True)
        for row in readers:
            dot(axes, x, middle(row), color, filled=False)


def dot(axes: Axes, x: float, y: float, color: str, *, filled: bool) -> None:
    """Mark where a stage writes (full) or reads (open) a lane."""
    axes.plot(
        [x],
        [y],
        "o",
        markersize=10,
        markerfacecolor=color if filled else PAPER,
        markeredgecolor=color,
        markeredgewidth=2.2,
        zorder=3,
    )


def draw_legend(axes: Axes, y: float) -> None:
    """Say what the dots and the two inks mean."""
    axes.plot([0, WIDTH], [y - FOOT / 2] * 2, color=RULE, linewidth=1)
    for x, filled, text in ((LANE_LEFT, True, "writes"), (LANE_LEFT + 1.0, False, "reads")):
        dot(axes, x, y, MUTED, filled=filled)
        axes.text(x + 0.15, y, text, color=MUTED, size=9.5, va="center")
    axes.text(CHIPS_LEFT, y, "data/ is in the DVC cache, results/ in git", color=MUTED, size=9.5, va="center")


if __name__ == "__main__":
    draw()
