"""Crops: the published rows and columns, scaled frames, kernels, and refused frames."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.crops import CROPS, KERNELS, OF_THE_CROP, apply_crop, kernel_of
from ddpm.data.frames import Frame as Upright
from ddpm.experiment.params import DataParams

Frame = Callable[..., Image.Image]
Pixels = NDArray[np.uint8]
BILINEAR = Image.Resampling.BILINEAR


def cropped(image: Image.Image, crop: str, width: int, height: int = 0, resample: str = "crop") -> Pixels:
    return apply_crop(Upright(image), crop, resample, (width, height or width))


@pytest.fixture(scope="module")
def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8))


def test_the_parameter_offers_exactly_these_crops() -> None:
    assert set(get_args(DataParams.model_fields["crop"].annotation)) == set(CROPS)


def test_ddim_crop_is_rows_57_to_185_and_columns_25_to_153(frame: Frame) -> None:
    pixels = cropped(frame(7), "ddim-128", 128)
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
    np.testing.assert_array_equal(cropped(noise, crop, 64), expected)
    if crop != "squash":
        assert (expected != np.asarray(noise.resize((64, 64), BILINEAR, box=box))).any()


def test_half_size_ddim_crop_needs_no_resampling(frame: Frame) -> None:
    pixels = cropped(frame(0, 89, 109), "ddim-128", 64)
    np.testing.assert_array_equal(pixels[:, 0, 1], np.arange(28, 92))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(12, 76))


def test_half_size_scoresde_crop(frame: Frame) -> None:
    pixels = cropped(frame(0, 89, 109), "scoresde-140", 70)
    assert pixels[0, 0].tolist() == [9, 19, 0]


def test_short_side_is_shrunk_before_the_centre_is_cut(noise: Image.Image) -> None:
    expected = noise.resize((64, 78), Image.Resampling.BOX).crop((0, 7, 64, 71))
    np.testing.assert_array_equal(cropped(noise, "short-side", 64), np.asarray(expected))


@pytest.mark.parametrize(("width", "height"), [(30, 50), (50, 30)])
def test_short_side_takes_the_centre_of_either_orientation(frame: Frame, width: int, height: int) -> None:
    pixels = cropped(frame(0, width, height), "short-side", 30)
    assert pixels[0, 0].tolist() == [(width - 30) // 2, (height - 30) // 2, 0]


@pytest.mark.parametrize("crop", ["ddim-128", "scoresde-140"])
@given(scale=st.floats(0.15, 6.0))
def test_a_scaled_frame_is_accepted_and_its_box_lies_inside(crop: str, scale: float) -> None:
    width, height = round(178 * scale), round(218 * scale)
    left, top, right, bottom = CROPS[crop].box((width, height), (64, 64))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == bottom - top


@pytest.mark.parametrize("crop", ["ddim-128", "scoresde-140"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (218, 178), (178, 220), (180, 218), (8, 8), (32, 32)])
def test_another_aspect_is_refused(frame: Frame, crop: str, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=rf"^crop {crop} needs the aligned 178x218 .*got {width}x{height}; choose"):
        cropped(frame(0, width, height), crop, 64)


def test_none_keeps_the_shape_and_refuses_to_squash(frame: Frame) -> None:
    np.testing.assert_array_equal(cropped(frame(3, 8, 8), "none", 8), np.asarray(frame(3, 8, 8)))
    with pytest.raises(
        ValueError, match=r"^crop none keeps frames of the shape 64x64 \(width x height\), got 178x218; choose .*squash"
    ):
        cropped(frame(), "none", 64)


def test_none_enlarges_by_bicubic(frame: Frame) -> None:
    image = frame(3, 8, 8)
    np.testing.assert_array_equal(
        cropped(image, "none", 16), np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
    )


def test_sizes_need_not_be_square(noise: Image.Image) -> None:
    assert cropped(noise, "squash", 89, 109).shape == (109, 89, 3)
    np.testing.assert_array_equal(cropped(noise, "none", 178, 218), np.asarray(noise))
    np.testing.assert_array_equal(
        cropped(noise, "none", 89, 109), np.asarray(noise.resize((89, 109), KERNELS["bicubic"]))
    )
    wide = noise.resize((64, 78), KERNELS["box"]).crop((0, 23, 64, 55))
    np.testing.assert_array_equal(cropped(noise, "short-side", 64, 32), np.asarray(wide))
    high = noise.resize((82, 100), KERNELS["box"]).crop((26, 0, 56, 100))
    np.testing.assert_array_equal(cropped(noise, "short-side", 30, 100), np.asarray(high))
    with pytest.raises(ValueError, match=r"^crop ddim-128 is square, got 64x32; set data.image_width to 0"):
        cropped(noise, "ddim-128", 64, 32)


def test_adm_halves_resizes_and_cuts(noise: Image.Image) -> None:
    large = noise.resize((178 * 3, 218 * 3), BILINEAR)
    halved = large
    for width, height in ((267, 327), (133, 163), (66, 81)):  # 133 is still more than twice 64
        halved = halved.resize((width, height), KERNELS["box"])
    expected = halved.resize((64, round(81 * (64 / 66))), KERNELS["bicubic"])
    top = (expected.height - 64) // 2
    np.testing.assert_array_equal(cropped(large, "adm", 64), np.asarray(expected.crop((0, top, 64, top + 64))))


@pytest.mark.parametrize("resample", list(KERNELS))
def test_a_kernel_can_be_asked_for(noise: Image.Image, resample: str) -> None:
    expected = noise.resize((40, 40), KERNELS[resample])
    np.testing.assert_array_equal(cropped(noise, "squash", 40, resample=resample), np.asarray(expected))
    assert (np.asarray(expected) != cropped(noise, "squash", 40)).any() == (resample != "bilinear")


def test_the_parameter_offers_exactly_these_kernels() -> None:
    assert set(get_args(DataParams.model_fields["resample"].annotation)) == {OF_THE_CROP, *KERNELS}
    assert {crop: kernel_of(crop, OF_THE_CROP).name.lower() for crop in CROPS} == {
        "none": "bicubic",
        "ddim-128": "bilinear",
        "scoresde-140": "bilinear",
        "squash": "bilinear",
        "short-side": "box",
        "adm": "bicubic",
    }


def test_gray_frames_stay_gray(noise: Image.Image) -> None:
    assert cropped(noise.convert("L"), "squash", 16).shape == (16, 16)


def test_unknown_values_are_refused(noise: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"^params.yaml: data.crop must be one of none, ddim-128, .*got middle$"):
        cropped(noise, "middle", 16)
    with pytest.raises(ValueError, match=r"^params.yaml: data.resample must be crop or one of bilinear, .*got fast$"):
        cropped(noise, "squash", 16, resample="fast")


def test_pixels_and_images_are_cut_alike(noise: Image.Image) -> None:
    for crop, size in (("ddim-128", (128, 128)), ("ddim-128", (64, 64)), ("none", (178, 218)), ("squash", (32, 32))):
        of_pixels = apply_crop(Upright(np.asarray(noise)), crop, "crop", size)
        np.testing.assert_array_equal(of_pixels, apply_crop(Upright(noise), crop, "crop", size))
        assert of_pixels.dtype == np.uint8
