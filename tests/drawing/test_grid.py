import numpy as np
import pytest
from numpy.typing import NDArray

from ddpm.drawing.comparison import real_and_generated
from ddpm.drawing.grid import tile


def numbered(count: int, channels: int = 1) -> NDArray[np.uint8]:
    """Images of 2 x 3 pixels; image i is filled with 10 i, but its top left pixel is 10 i + 1."""
    images = np.repeat(np.arange(count, dtype=np.uint8) * 10, 6 * channels).reshape(count, 2, 3, channels)
    images[:, 0, 0] += 1
    return images


def test_tiles_stand_in_reading_order_at_exact_pixels() -> None:
    zoom, padding = 4, 3
    sheet = np.asarray(tile(numbered(7), rows=2, columns=3, zoom=zoom, padding=padding))
    assert sheet.shape == (2 * (2 * zoom + padding) + padding, 3 * (3 * zoom + padding) + padding)
    seen = np.zeros_like(sheet, dtype=bool)
    for i in range(6):
        top, left = padding + i // 3 * (2 * zoom + padding), padding + i % 3 * (3 * zoom + padding)
        block = sheet[top : top + 2 * zoom, left : left + 3 * zoom]
        assert (block[:zoom, :zoom] == 10 * i + 1).all()
        assert (block[zoom:] == 10 * i).all()
        assert (block[:, zoom:] == 10 * i).all()
        seen[top : top + 2 * zoom, left : left + 3 * zoom] = True
    assert (sheet[~seen] == 0).all()


def test_colors_survive_and_no_padding_means_none() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    picture = tile(images, rows=2, columns=2, zoom=1, padding=0)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture)[5:, :5], images[2])


def test_too_few_images_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"grid: 3 rows x 3 columns need 9 images, got 7; .*figures\.grid_rows"):
        tile(numbered(7), rows=3, columns=3, zoom=2)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 2, 3, 1), dtype=np.float32),
        np.zeros((4, 2, 3), dtype=np.uint8),
        np.zeros((4, 2, 3, 2), dtype=np.uint8),
    ],
)
def test_arrays_that_are_no_images_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 of shape \(count, height, width, 1 or 3\), got"):
        tile(images, rows=1, columns=1, zoom=1)


@pytest.mark.parametrize(("name", "value"), [("rows", 0), ("columns", 0), ("zoom", 0), ("padding", -1)])
def test_sizes_below_the_least_are_refused(name: str, value: int) -> None:
    sizes = {"rows": 1, "columns": 1, "zoom": 1, "padding": 1, name: value}
    with pytest.raises(ValueError, match=f"grid: {name} must be at least"):
        tile(numbered(1), **sizes)


def test_comparison_shows_both_grids_unchanged() -> None:
    real, samples = numbered(4), numbered(8)[4:]
    picture = np.asarray(real_and_generated(real, samples, rows=2, columns=2, zoom=20))
    left, right = (np.asarray(tile(images, rows=2, columns=2, zoom=20)) for images in (real, samples))
    height, width = left.shape
    np.testing.assert_array_equal(picture[-height:, :width, 0], left)
    np.testing.assert_array_equal(picture[-height:, -width:, 0], right)
    assert (picture[:-height, :width] < 128).any()  # a caption stands over the left grid
    assert (picture[:-height, -width:] < 128).any()  # and over the right one


def test_a_long_caption_widens_the_comparison() -> None:
    def drawn(caption: str) -> np.ndarray:
        return np.asarray(real_and_generated(numbered(1), numbered(1), 1, 1, 8, ("real", caption)))

    short, long = drawn("generated"), drawn("generated, a caption that is wider than its grid")
    assert long.shape[1] > short.shape[1]
    assert (long[:, -2:] == 255).all()  # the page ends after the caption


def test_comparison_refuses_images_of_two_shapes() -> None:
    with pytest.raises(ValueError, match=r"must have one shape, got \(2, 3, 1\) and \(2, 3, 3\)"):
        real_and_generated(numbered(4), numbered(4, channels=3), rows=1, columns=1, zoom=1)
