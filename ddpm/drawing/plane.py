"""Points in the plane on their way into noise and back, with the field that leads them, as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ddpm.drawing.animation import Animation
from ddpm.drawing.canvas import frame_of, settle
from ddpm.drawing.look import BLUE, GREEN, MUTED, ORANGE, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = NDArray[np.floating[Any]]
REACH = 3.0  # of both axes
LONGEST = 0.26  # arrow, in units of the plane
FORWARD_MILLISECONDS, BACK_MILLISECONDS, HOLD_MILLISECONDS, STORY_MILLISECONDS = 70, 90, 900, 4000


@dataclass(frozen=True)
class Field:
    """What pulls points at step t.

    Attributes:
        t: the step.
        points: (count, 2), x_t of the reverse process.
        believed: (count, 2), what the net takes x0 for.
        arrows: (places, 2), the score at `Story.places`.
    """

    t: int
    points: Points
    believed: Points
    arrows: Points


@dataclass(frozen=True)
class Story:
    """Everything that is shown.

    Attributes:
        data: (count, 2).
        forward: (t, x_t) on the way into noise.
        back: on the way out of it, from large t to small.
        places: (places, 2), where arrows stand.
        chosen: the number in `back` of the field that stands in the still.
        said: the distance between what was generated and data.
        T: the last step.
    """

    data: Points
    forward: Sequence[tuple[int, Points]]
    back: Sequence[Field]
    generated: Points
    places: Points
    chosen: int
    said: str
    T: int


def story(told: Story) -> Animation:
    """Forward, then back; the last frame is the still: data, noised, field, generated."""
    with page(7.0, 7.4) as figure:
        (data, noised), (field, made) = figure.subplots(2, 2)
        plain(data, told.data, BLUE, "1  Data")
        clouds = [plain(noised, told.data, MUTED, "2  Noised, t = 0"), plain(field, told.data, MUTED, "3  Score field")]
        clouds.append(plain(made, told.data, GREEN, "4  Generated"))
        lead = arrows_on(field, told)
        caption = figure.text(0.5, 0.012, told.said, ha="center", va="bottom", fontsize=9.5)
        for axes in (data, noised, field, made):
            axes.set_xlabel(" " if axes in (field, made) else "", fontsize=26)  # room for two lines at the foot
        settle(figure)
        caption.set_text("")
        for thing in (*clouds[1:], lead):
            thing.set_visible(False)
        frames = []
        for t, x_t in told.forward:
            clouds[0].set_offsets(x_t)
            noised.set_title(f"2  Noised, t = {t} of {told.T}")
            frames.append(frame_of(figure))
        for thing in (*clouds[1:], lead):
            thing.set_visible(True)
        for at in told.back:
            show_field(field, clouds, lead, at)
            made.set_title(f"4  Guess at x0, t = {at.t}")
            clouds[2].set_offsets(at.believed)
            frames.append(frame_of(figure))
        show_field(field, clouds, lead, told.back[told.chosen])
        clouds[2].set_offsets(told.generated)
        made.set_title("4  Generated")
        caption.set_text(told.said)
        frames.append(frame_of(figure))
    return Animation(frames, durations(len(told.forward), len(told.back)))


def durations(forward: int, back: int) -> list[int]:
    """Milliseconds of the frames: data and noise stay for a while, the still longest."""
    times = [FORWARD_MILLISECONDS] * forward + [BACK_MILLISECONDS] * back + [STORY_MILLISECONDS]
    times[0] = times[forward - 1] = HOLD_MILLISECONDS
    return times


def plain(axes: Axes, points: Points, color: str, title: str) -> Any:
    """A panel with points, and nothing else."""
    axes.set_xlim(-REACH, REACH)
    axes.set_ylim(-REACH, REACH)
    axes.set_aspect("equal")
    axes.set_xticks([-2, 0, 2])
    axes.set_yticks([-2, 0, 2])
    axes.tick_params(labelsize=8)
    axes.set_title(title)
    return axes.scatter(points[:, 0], points[:, 1], s=4, color=color, linewidths=0)


def arrows_on(axes: Axes, told: Story) -> Any:
    """The field of the first step back."""
    return axes.quiver(
        *told.places.T,
        *shortened(told.back[0].arrows).T,
        color=ORANGE,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.005,
        headwidth=4,
        zorder=3,
    )


def show_field(axes: Axes, clouds: Sequence[Any], lead: Any, at: Field) -> None:
    """The points and arrows of one step."""
    axes.set_title(f"3  Score field and x_t, t = {at.t}")
    clouds[1].set_offsets(at.points)
    lead.set_UVC(*shortened(at.arrows).T)


def shortened(arrows: Points) -> Points:
    """Arrows of the same directions and order of lengths, none longer than `LONGEST`: length = longest s / (1 + s)."""
    size = np.linalg.norm(arrows, axis=1, keepdims=True)
    return np.asarray(LONGEST * arrows / (1 + size))


def grid_of_places(side: int) -> Points:
    """side x side places, evenly spaced within the panel, (side^2, 2)."""
    ticks = np.linspace(-REACH, REACH, side + 2)[1:-1]
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
