"""The moving progression: which frames, what they show, and what is refused."""

import numpy as np
import pytest
import torch

from ddpm.drawing.animation import Animation
from ddpm.drawing.progression import FOOT_PIXELS, LEAST_WIDTH, moment
from ddpm.engine.batches import to_pixels
from ddpm.engine.sample import labels_of
from ddpm.figures.progression import HOLD_MILLISECONDS, Options, draw


def grids(frame, rows, columns, zoom=4, side=8):
    """The two grids of a frame as they were before they were enlarged, (2, rows, columns, side, side)."""
    sheet = np.asarray(frame.convert("L"))
    head = frame.height - FOOT_PIXELS - (rows * (side * zoom + 6) + 6)
    width = columns * (side * zoom + 6) + 6
    found = np.empty((2, rows, columns, side, side), np.uint8)
    for half, left in enumerate((0, frame.width - width)):
        for row in range(rows):
            for column in range(columns):
                top, start = head + 6 + row * (side * zoom + 6), left + 6 + column * (side * zoom + 6)
                found[half, row, column] = sheet[top : top + side * zoom : zoom, start : start + side * zoom : zoom]
    return found


def test_the_last_frame_holds_the_samples_and_the_first_one_pure_noise(material):
    made = material()
    animation = draw(made, Options(rows=2, columns=4, frames=0))
    assert isinstance(animation, Animation)
    assert len(animation.frames) == 6, "x_T and five steps"
    reverse, index = made.reverse(), made.numbers(8)
    with torch.inference_mode():
        states = list(reverse.walk(reverse.prior(index), index, labels_of(made.checkpoint, index)))
    expected = [to_pixels(x)[..., 0].numpy().reshape(2, 4, 8, 8) for x in (reverse.prior(index), states[-1].x_s)]
    found = [grids(animation.frames[k], 2, 4) for k in (0, -1)]
    assert (found[0][0] == expected[0]).all()
    assert (found[1][0] == expected[1]).all()
    beliefs = [to_pixels(state.x0_hat)[..., 0].numpy().reshape(2, 4, 8, 8) for state in states]
    for k, belief in enumerate([beliefs[0], *beliefs]):
        assert (grids(animation.frames[k], 2, 4)[1] == belief).all(), f"frame {k}"


@pytest.mark.parametrize(("frames", "count"), [(0, 6), (2, 2), (3, 3), (6, 6), (100, 6)])
def test_frames_are_chosen_evenly_and_the_last_one_is_held(material, frames, count):
    made = material()
    everything = draw(made, Options(rows=1, columns=2, frames=0)).frames
    animation = draw(made, Options(rows=1, columns=2, frames=frames, seconds=0.3))
    assert len(animation.frames) == count
    chosen = np.linspace(0, 5, count).round().astype(int)
    assert [frame.tobytes() for frame in animation.frames] == [everything[k].tobytes() for k in chosen]
    assert animation.milliseconds[-1] == HOLD_MILLISECONDS
    assert set(animation.milliseconds[:-1]) == {min(160, round(300 / count))}


def test_a_frame_is_the_same_again_and_images_do_not_depend_on_how_many_there_are(material):
    made = material()
    first, second = (draw(made, Options(rows=1, columns=2)) for _ in range(2))
    assert [frame.tobytes() for frame in first.frames] == [frame.tobytes() for frame in second.frames]


def test_an_exploding_process_is_shown_in_the_range_of_pictures(material):
    made = material("schedule.process=ve", "sample.sampler=ddim", "objective.target=eps")
    noise = grids(draw(made, Options(rows=1, columns=4)).frames[0], 1, 4)[0]
    assert 0.1 < ((noise == 0) | (noise == 255)).mean() < 0.5, "a normal of std 1 leaves -1..1 in 32 of 100 pixels"


def test_one_frame_is_refused(material):
    with pytest.raises(ValueError, match="--frames must be 0 for all or at least 2, got 1"):
        draw(material(), Options(frames=1))


def test_the_bar_is_as_long_as_the_share_that_is_done():
    images = np.full((6, 8, 10, 3), 200, np.uint8)
    frames = [moment(images, images, 3, 2, ("t = 1", "step"), done) for done in (0.0, 0.5, 1.0)]
    assert len({frame.size for frame in frames}) == 1
    rows = [np.asarray(frame)[frame.height - FOOT_PIXELS + 3] for frame in frames]
    blue = [(row == (0, 114, 178)).all(axis=1).sum() for row in rows]
    width = frames[0].width - 12
    assert blue[0] == 0
    assert blue[1] == pytest.approx(width / 2, abs=1)
    assert blue[2] == width
    small = [moment(images[:1], images[:1], 1, 1, (text, "step 9 of 9"), 0.0) for text in ("t = 1", "t = 999.9")]
    assert {frame.width for frame in small} == {LEAST_WIDTH}, "the texts below do not run into each other"
