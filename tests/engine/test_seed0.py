"""What KimRass/DDPM does to images: JPEG sheets with halved chroma, and flips."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm.data.foreign import open_images
from ddpm.data.grids import Grid, lay
from ddpm.engine import seed0
from ddpm.engine.seed0 import flipped, through_jpeg_grids

SHARED = os.environ.get("DDPM_SHARED_DATA")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth waves of light and color, 23 of 16x16."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16][..., None]
    phases = rng.uniform(0, 0.3, (23, 2, 1, 1, 3))
    return (127 + 100 * np.sin(rows * phases[:, 0] + columns * phases[:, 1] + phases[:, 0] * 9)).astype(np.uint8)


def test_sheets_are_the_published_ones(monkeypatch):
    """651x651 with 10x10 cells of 64x64, three channels of which two are halved, all divided by 1."""
    sheets: list[Image.Image] = []
    save = Image.Image.save

    def kept(image: Image.Image, file: io.BytesIO, *arguments: object, **options: object) -> None:
        save(image, file, *arguments, **options)
        sheets.append(Image.open(io.BytesIO(file.getvalue())))

    monkeypatch.setattr(Image.Image, "save", kept)
    images = np.random.default_rng(0).integers(0, 256, (101, 64, 64, 3), dtype=np.uint8)
    assert through_jpeg_grids(images).shape == images.shape
    assert [sheet.size for sheet in sheets] == [(651, 651), (651, 651)]
    assert [component[1:3] for component in sheets[0].layer] == [(2, 2), (1, 1), (1, 1)]
    assert all(set(table) == {1} for table in sheets[0].quantization.values())
    last = np.asarray(sheets[1]).astype(int)
    assert last[80:, 80:].min() >= 253  # cells that are not there are white


@pytest.mark.parametrize("level", [0, 77, 255])
def test_gray_levels_stay_where_the_padding_does_not_reach(level):
    images = np.full((5, 24, 24, 3), level, dtype=np.uint8)
    found = through_jpeg_grids(images, rows=2, columns=2).astype(int)
    assert np.abs(found[:, 9:15, 9:15] - level).max() <= 1
    whole = through_jpeg_grids(images, rows=2, columns=2, padding=0).astype(int)
    assert np.abs(whole[:4] - level).max() <= 1


def test_each_image_stays_in_its_place(images):
    for count in (1, 6, 7, 23):
        found = through_jpeg_grids(images[:count], rows=2, columns=3).astype(int)
        assert found.shape == images[:count].shape
        inner = np.abs(found - images[:count])[:, 4:-4, 4:-4].mean(axis=(1, 2, 3))
        assert inner.max() < 3
        others = np.abs(np.roll(images, 1, axis=0).astype(int) - images).mean(axis=(1, 2, 3))
        assert others.min() > 6  # so a shift by one would be seen


def test_light_is_kept_and_color_is_halved():
    """A chessboard of single pixels: in light it comes back, in color only its mean does."""
    board = (np.indices((16, 16)).sum(axis=0) % 2).astype(bool)
    light = np.where(board[..., None], 160, 96).astype(np.uint8).repeat(3, axis=-1)
    # about equal luma (0.299 R + 0.587 G + 0.114 B) on both fields
    color = np.where(board[..., None], np.array([200, 80, 128]), np.array([59, 152, 128])).astype(np.uint8)
    found = through_jpeg_grids(np.stack([light, color]), rows=1, columns=2, padding=0).astype(int)
    assert np.abs(found[0] - light).max() <= 3
    contrast = [np.abs(cell[board].mean(axis=0) - cell[~board].mean(axis=0)) for cell in (color, found[1])]
    assert contrast[0][0] > 140
    assert contrast[1].max() < 5
    np.testing.assert_allclose(found[1].mean(axis=(0, 1)), color.mean(axis=(0, 1)), atol=2)


def test_lower_quality_loses_more(images):
    losses = [
        np.abs(through_jpeg_grids(images, quality=quality).astype(int) - images)[:, 4:-4, 4:-4].mean()
        for quality in (100, 75, 25)
    ]
    assert losses == sorted(losses)
    assert losses[0] < losses[2] / 2


def test_it_is_what_reading_such_sheets_gives(images, tmp_path):
    sheet = lay(images[:6], Grid(2, 3, 1, 16, 16), seed0.WHITE)
    Image.fromarray(sheet).save(tmp_path / "0.jpg", quality=100, subsampling=2)
    found = open_images(tmp_path / "0.jpg", grid=(2, 3), padding=1)
    np.testing.assert_array_equal(next(found.chunks()), through_jpeg_grids(images[:6], rows=2, columns=3))


def test_flips_are_half_repeatable_and_addressed():
    images = np.random.default_rng(0).integers(0, 256, (4000, 2, 3, 3), dtype=np.uint8)
    numbers = np.arange(4000)
    found = flipped(images, numbers)
    same = (found == images).all(axis=(1, 2, 3))
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / 4000**0.5
    np.testing.assert_array_equal(found, flipped(images, numbers))
    order = np.random.default_rng(1).permutation(4000)[:500]  # by number, not by place in the batch
    np.testing.assert_array_equal(found[order], flipped(images[order], numbers[order]))
    assert (mirrored != (flipped(images, numbers + 4000) == images[:, :, ::-1]).all(axis=(1, 2, 3))).any()


def test_read_only_images_are_taken(images):
    images = images.copy()
    numbers = np.arange(len(images))
    for array in (images, numbers):
        array.flags.writeable = False
    assert flipped(images, numbers).shape == through_jpeg_grids(images).shape == images.shape


@pytest.mark.parametrize("bad", ["gray", "floats", "one", "none"])
def test_only_rgb_images_are_taken(bad, images):
    arrays = {"gray": images[..., :1], "floats": images / 255, "one": images[0], "none": images[:0]}
    with pytest.raises(ValueError, match=r"KimRass/DDPM: .* uint8 images \(N, height, width, 3\), got"):
        through_jpeg_grids(arrays[bad])
    with pytest.raises(ValueError, match=r"KimRass/DDPM: .* uint8 images"):
        flipped(arrays[bad], np.arange(len(arrays[bad])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"columns": -1}, "columns must be at least 1, got -1"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"quality": 0}, r"quality must be 1\.\.100, got 0"),
        ({"quality": 101}, r"quality must be 1\.\.100, got 101"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message, images):
    with pytest.raises(ValueError, match=message):
        through_jpeg_grids(images, **options)


def test_every_image_needs_its_number(images):
    with pytest.raises(ValueError, match=r"one number for each of 23 images, got shape \(22,\)"):
        flipped(images, np.arange(22))


@pytest.mark.skipif(SHARED is None, reason="DDPM_SHARED_DATA names no folder with published sheets")
def test_published_cells_hardly_change_when_they_go_through_again():
    """They have lost what such sheets lose; images that have not would lose more."""
    found = open_images(Path(str(SHARED)) / "seed0_grids", grid=(10, 10), padding=1)
    cells = next(found.chunks())
    again = np.abs(through_jpeg_grids(cells).astype(int) - cells).mean()
    turned = np.abs(through_jpeg_grids(cells[:, :, ::-1]).astype(int) - cells[:, :, ::-1]).mean()
    assert again < 1.5
    assert again < turned  # the chroma grid is aligned with theirs
