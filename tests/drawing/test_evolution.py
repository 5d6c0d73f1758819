import numpy as np
import pytest

from ddpm.drawing.evolution import evolution


def previews(rows: int, columns: int, channels: int = 1, size: int = 8) -> list[np.ndarray]:
    """Image c of preview r is filled with 20 r + c."""
    values = (20 * np.arange(rows)[:, None] + np.arange(columns)[None]).astype(np.uint8)
    shape = (rows, columns, size, size, channels)
    return list(np.broadcast_to(values[..., None, None, None], shape).copy())


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_training_steps_and_columns_one_noise(channels: int) -> None:
    zoom, padding, rows, columns = 3, 6, 3, 5
    picture = np.asarray(evolution(previews(rows, columns, channels), [200, 400, 600], zoom))
    pitch = 8 * zoom + padding
    assert picture.shape[0] == rows * pitch + padding
    margin = picture.shape[1] - (columns * pitch + padding)
    for row in range(rows):
        for column in range(columns):
            top, left = padding + row * pitch, margin + padding + column * pitch
            assert (picture[top : top + 8 * zoom, left : left + 8 * zoom] == 20 * row + column).all()


def test_each_row_carries_its_label_and_no_other() -> None:
    picture = np.asarray(evolution(previews(3, 2), [200, 40_000, 200], 3))
    margin = picture.shape[1] - (2 * 30 + 6)
    labels = [picture[3 + row * 30 : 33 + row * 30, :margin] for row in range(3)]
    assert all((label.min(axis=(1, 2)) < 160).sum() >= 8 for label in labels)  # as high as a digit
    assert all((label[[0, -1]] == 255).all() for label in labels)
    np.testing.assert_array_equal(labels[0], labels[2])
    assert (labels[0] != labels[1]).any()
    assert (picture[:, :4] == 255).all()  # the longest one is not cut


def test_a_long_label_widens_the_margin() -> None:
    narrow, wide = (evolution(previews(1, 2), [step], 3).width for step in (1, 1_000_000))
    assert wide > narrow + 40


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"needs at least one image, got none; lower train\.preview_every"):
        evolution([], [], 2)
    with pytest.raises(ValueError, match="needs at least one image, got none"):
        evolution([np.zeros((0, 8, 8, 1), np.uint8)], [1], 2)
    with pytest.raises(ValueError, match=r"must have one shape, got \[\(2, 8, 8, 1\), \(3, 8, 8, 1\)\]; draw those of"):
        evolution([*previews(1, 3), *previews(1, 2)], [1, 2], 2)
    with pytest.raises(ValueError, match="each of the 3 previews needs its step, got 2 steps; name them all"):
        evolution(previews(3, 2), [1, 2], 2)
    with pytest.raises(ValueError, match=r"zoom must be at least 1, got 0; raise figures\.zoom"):
        evolution(previews(1, 1), [1], 0)
    with pytest.raises(ValueError, match="images must be uint8"):
        evolution([previews(1, 1)[0].astype(np.float64)], [1], 2)
