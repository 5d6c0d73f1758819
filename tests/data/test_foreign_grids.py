"""Sheets of many images, as torchvision lays them out, come apart into the images that were laid."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.utils import make_grid

from ddpm.data.foreign import as_array, jpeg_warning, open_images
from ddpm.data.grids import Grid, cut, divide, lay, num_empty

SHARED = os.environ.get("DDPM_SHARED_DATA")
HEIGHT, WIDTH = 6, 8


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, HEIGHT, WIDTH, 3), dtype=np.uint8)


def torchvision_sheet(images: np.ndarray, columns: int, padding: int, color: int) -> Image.Image:
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    return Image.fromarray(make_grid(x, nrow=columns, padding=padding, pad_value=color).permute(1, 2, 0).numpy())


def sheets(folder: Path, images: np.ndarray, grid: tuple[int, int], padding: int, color: int) -> Path:
    """Write sheets 0.png, 1.png, ...; torchvision cuts the last one down to the rows it needs."""
    folder.mkdir()
    cells = grid[0] * grid[1]
    for number, first in enumerate(range(0, len(images), cells)):
        torchvision_sheet(images[first : first + cells], grid[1], padding, color).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("color", [0, 255])
@pytest.mark.parametrize(
    ("grid", "num_images", "num_empty"),
    [
        ((3, 4), 12, 0),
        ((2, 3), 12, 0),
        ((2, 3), 11, 1),
        ((2, 2), 11, 1),
        ((2, 4), 10, 0),
        ((2, 2), 9, 0),
        ((3, 3), 11, 0),
    ],
)
def test_sheets_of_torchvision_come_apart(padding, color, grid, num_images, num_empty, images, tmp_path):
    found = open_images(sheets(tmp_path / "a", images[:num_images], grid, padding, color), grid=grid, padding=padding)
    assert (found.num_images, found.shape, found.num_empty_cells) == (num_images, (HEIGHT, WIDTH, 3), num_empty)
    assert found.format == f"png grids {grid[0]}x{grid[1]} padding {padding}"
    np.testing.assert_array_equal(as_array(found, tmp_path / "scratch.npy"), images[:num_images])


def test_empty_rows_of_a_full_sheet_are_left_out(images, tmp_path):
    sheet = lay(images[:5], Grid(4, 3, 1, HEIGHT, WIDTH), 7)
    Image.fromarray(sheet).save(tmp_path / "a.png")
    found = open_images(tmp_path / "a.png", grid=(4, 3), padding=1)
    assert (found.num_images, found.num_empty_cells) == (5, 7)
    np.testing.assert_array_equal(next(found.chunks()), images[:5])


def test_blank_images_that_are_not_at_the_end_are_kept(images):
    cells = images[:4].copy()
    cells[1] = 255
    white = np.array([255, 255, 255], dtype=np.uint8)
    assert num_empty(cells, white, lossy=False) == 0
    cells[3] = 255
    assert num_empty(cells, white, lossy=False) == 1
    assert num_empty(cells, None, lossy=False) == 1
    cells[3, 2, 2, 0] = 254
    assert num_empty(cells, white, lossy=False) == 0
    assert num_empty(cells, white, lossy=True) == 1


@pytest.mark.parametrize("quality", [100, 75, 50])
def test_empty_cells_of_jpeg_sheets_are_found(quality, tmp_path):
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0, 255, (7, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    sheet = Image.fromarray(lay(blocks, Grid(3, 3, 1, 32, 32), 255))
    sheet.save(tmp_path / "a.jpg", quality=quality, subsampling=2)
    found = open_images(tmp_path / "a.jpg", grid=(3, 3), padding=1)
    assert (found.num_images, found.num_empty_cells, found.format) == (7, 2, "jpeg grids 3x3 padding 1")
    assert jpeg_warning(found)
    assert np.abs(next(found.chunks()).astype(int) - blocks).mean() < 30


def test_gray_sheets_stay_gray(images, tmp_path):
    Image.fromarray(lay(images[:4, ..., :1], Grid(2, 2, 3, HEIGHT, WIDTH), 0)[..., 0]).save(tmp_path / "a.png")
    found = open_images(tmp_path / "a.png", grid=(2, 2), padding=3)
    np.testing.assert_array_equal(next(found.chunks()), images[:4, ..., :1])


@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    padding=st.integers(0, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
)
def test_cut_undoes_lay(rows, columns, padding, height, width, channels):
    grid = Grid(rows, columns, padding, height, width)
    shape = (rows * columns, height, width, channels)
    cells = np.arange(np.prod(shape), dtype=np.uint16).astype(np.uint8).reshape(shape)
    sheet = lay(cells, grid, 200)
    assert sheet.shape == grid.sheet_shape(channels)
    assert divide("a", sheet.shape[:2], (rows, columns), padding) == grid
    np.testing.assert_array_equal(cut(sheet, grid), cells)


@pytest.mark.parametrize(
    ("grid", "padding", "message"),
    [
        ((4, 4), 1, r"0\.png: a sheet must divide into 4x4 cells with padding 1, got 22x28 pixels; give"),
        ((3, 3), 2, "must divide into 3x3 cells with padding 2"),
        ((3, 3), 30, "must divide into 3x3 cells"),
        ((0, 3), 1, "at least 1 row, 1 column and padding 0, got 0x3 and padding 1"),
        ((3, 3), -1, "got 3x3 and padding -1"),
        ((7, 9), 1, "the lines between 7x9 cells must have one color, got pixels that differ by"),
    ],
)
def test_sheets_that_divide_otherwise_are_refused(grid, padding, message, images, tmp_path):
    path = sheets(tmp_path / "a", images[:9], (3, 3), 1, 0)
    with pytest.raises(ValueError, match=message):
        open_images(path, grid=grid, padding=padding)


def test_sheets_of_other_sizes_and_empty_ones_are_refused(images, tmp_path):
    path = sheets(tmp_path / "a", images, (2, 2), 1, 0)
    torchvision_sheet(images[:2], 2, 1, 0).save(path / "1.png")
    with pytest.raises(ValueError, match=r"must be 15x19 like 0\.png, got 1\.png of 8x19"):
        open_images(path, grid=(2, 2), padding=1)
    path = sheets(tmp_path / "b", images, (2, 2), 1, 0)
    torchvision_sheet(images[:2, 1:], 2, 1, 0).save(path / "2.png")
    with pytest.raises(ValueError, match=r"2\.png: the last sheet must have up to 2x2 cells of 6x8, got 7x19 pixels"):
        open_images(path, grid=(2, 2), padding=1)
    Image.fromarray(np.zeros((15, 19, 3), dtype=np.uint8)).save(path / "2.png")
    with pytest.raises(ValueError, match=r"2\.png must hold an image, got empty cells only"):
        open_images(path, grid=(2, 2), padding=1)


def test_a_damaged_sheet_is_named(images, tmp_path):
    path = sheets(tmp_path / "a", images, (2, 2), 1, 0)
    (path / "1.png").write_bytes((path / "1.png").read_bytes()[:-60])
    chunks = open_images(path, grid=(2, 2), padding=1).chunks()
    np.testing.assert_array_equal(next(chunks), images[:4])
    with pytest.raises(ValueError, match=r"all 3 pictures must be whole, got 1 damaged: 1\.png"):
        next(chunks)  # and the third sheet does not come in the place of the second


@pytest.mark.skipif(SHARED is None, reason="DDPM_SHARED_DATA names no folder with published sheets")
def test_published_sheets(tmp_path):
    found = open_images(Path(str(SHARED)) / "seed0_grids", grid=(10, 10), padding=1)
    assert (found.num_images, found.shape, found.num_jpeg, found.num_empty_cells) == (1000, (64, 64, 3), 10, 0)
    assert found.format == "jpeg grids 10x10 padding 1"
    array = as_array(found, tmp_path / "scratch.npy")
    assert array.shape == (1000, 64, 64, 3)
    with Image.open(Path(str(SHARED)) / "seed0_grids" / "00003.jpg") as sheet:
        left = (
            1 + 4 * 65
        )  # the second sheet has numbers 100..199: 00002.jpg; number 214 is row 1, column 4 of the third
        wanted = np.asarray(sheet)[1 + 65 : 1 + 65 + 64, left : left + 64]
    np.testing.assert_array_equal(array[214], wanted)
    mean = array.mean(axis=0)  # faces: the middle is redder than it is blue
    assert mean[24:48, 16:48, 0].mean() > mean[24:48, 16:48, 2].mean() + 20
