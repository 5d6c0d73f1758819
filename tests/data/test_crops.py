"""Crops: the published rows and columns, scaled frames, kernels, and refused frames."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddpm.data.crops import CROPS, apply_crop
from ddpm.experiment.params import DataParams

Frame = Callable[..., Image.Image]
BILINEAR = Image.Resampling.BILINEAR


@pytest.fixture(scope="module")
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8))


def test_the_parameter_offers_exactly_these_crops() -> None:
    assert set(get_args(DataParams.model_fields["crop"].annotation)) == set(CROPS)


def test_ddim_crop_is_rows_57_to_185_and_columns_25_to_153(frame: Frame) -> None:
    pixels = apply_crop(frame(7), "ddim-128", 128, 3)
    np.testing.assert_array_equal(pixels[:, 0, 1], np.arange(57, 185))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(25, 153))
    assert (pixels[..., 2] == 7).all()


@pytest.mark.parametrize(
    ("crop", "box"),
    [("ddim-128", (25, 57, 153, 185)), ("scoresde-140", (19, 39, 159, 179)), ("squash", (0, 0, 178, 218))],
)
def test_a_crop_is_cut_and_then_shrunk_by_pil_bilinear(noise: Image.Image, crop: str, box: tuple[int, ...]) -> None:
    # Cut first: pixels outside the box must not leak in at its edges, as they do with resize(box=...).
    expected = np.asarray(noise.crop(box).resize((64, 64), BILINEAR))
    np.testing.assert_array_equal(apply_crop(noise, crop, 64, 3), expected)
    if crop != "squash":
        assert (expected != np.asarray(noise.resize((64, 64), BILINEAR, box=box))).any()


def test_half_size_ddim_crop_needs_no_resampling(frame: Frame) -> None:
    pixels = apply_crop(frame(0, 89, 109), "ddim-128", 64, 3)
    np.testing.assert_array_equal(pixels[:, 0, 1], np.arange(28, 92))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(12, 76))


def test_half_size_scoresde_crop(frame: Frame) -> None:
    pixels = apply_crop(frame(0, 89, 109), "scoresde-140", 70, 3)
    assert pixels[0, 0].tolist() == [9, 19, 0]


def test_short_side_is_shrunk_before_the_centre_is_cut(noise: Image.Image) -> None:
    expected = noise.resize((64, 78), Image.Resampling.BOX).crop((0, 7, 64, 71))
    np.testing.assert_array_equal(apply_crop(noise, "short-side", 64, 3), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(30, 50), (50, 30)])
def test_short_side_takes_the_centre_of_either_orientation(frame: Frame, width: int, height: int) -> None:
    pixels = apply_crop(frame(0, width, height), "short-side", 30, 3)
    assert pixels[0, 0].tolist() == [(width - 30) // 2, (height - 30) // 2, 0]


@pytest.mark.parametrize("crop", ["ddim-128", "scoresde-140"])
@given(scale=st.floats(0.15, 6.0))
def test_a_scaled_frame_is_accepted_and_its_box_lies_inside(crop: str, scale: float) -> None:
    width, height = round(178 * scale), round(218 * scale)
    left, top, right, bottom = CROPS[crop].box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == bottom - top


@pytest.mark.parametrize("crop", ["ddim-128", "scoresde-140"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (218, 178), (178, 220), (180, 218), (8, 8), (32, 32)])
def test_another_aspect_is_refused(frame: Frame, crop: str, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=rf"^crop {crop} needs the aligned 178x218 .*got {width}x{height}; choose"):
        apply_crop(frame(0, width, height), crop, 64, 3)


def test_none_keeps_a_square_and_refuses_to_squash(frame: Frame) -> None:
    np.testing.assert_array_equal(apply_crop(frame(3, 8, 8), "none", 8, 3), np.asarray(frame(3, 8, 8)))
    with pytest.raises(ValueError, match=r"^crop none keeps square frames, got 178x218; choose .*squash"):
        apply_crop(frame(), "none", 64, 3)


def test_none_enlarges_by_bicubic(frame: Frame) -> None:
    image = frame(3, 8, 8)
    np.testing.assert_array_equal(
        apply_crop(image, "none", 16, 3), np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    )


def test_channels(noise: Image.Image) -> None:
    gray = apply_crop(noise, "squash", 16, 1)
    assert gray.shape == (16, 16, 1)
    rgb_of_gray = apply_crop(noise.convert("L"), "squash", 16, 3)
    assert rgb_of_gray.shape == (16, 16, 3)
    np.testing.assert_array_equal(rgb_of_gray, np.repeat(gray, 3, axis=2))


def test_unknown_values_are_refused(noise: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: data.crop must be one of none, ddim-128, .*got middle$"):
        apply_crop(noise, "middle", 16, 3)
    with pytest.raises(ValueError, match=r"^params.yaml: data.channels must be 1 or 3, got 4$"):
        apply_crop(noise, "squash", 16, 4)
