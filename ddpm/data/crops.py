"""How a photograph becomes a square: the named crop rules.

Numbers measured on differently cropped CelebA faces are not comparable, so a rule has a name, and the name is
recorded with the prepared images. To add a rule, add one entry to `CROPS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, as in PIL: right and bottom lie outside."""

FRAME = (178, 218)
"""Width and height of an aligned CelebA photograph."""


@dataclass(frozen=True)
class Crop:
    """A crop rule: cut `box` out of the frame, then resize the cut with `kernel` unless it has the size already."""

    box: Callable[[int, int], Box]
    kernel: Image.Resampling
    purpose: str
    shrink_first: bool = False
    """Bring the short side of the frame to the size before the box is cut."""


def apply_crop(image: Image.Image, crop: str, size: int, channels: int) -> NDArray[np.uint8]:
    """Crop and resize one image; a cut that already has the size is not resampled.

    Args:
        image: a frame of any mode.
        crop: a name in `CROPS`.
        size: side of the result in pixels.
        channels: 3 (RGB) or 1 (luma, ITU-R 601).

    Returns:
        (size, size, channels), 0..255.

    Raises:
        ValueError: an unknown crop, other channels, or a frame that the crop is not defined on.
    """
    if crop not in CROPS:
        raise ValueError(f"params.yaml: data.crop must be one of {', '.join(CROPS)}, got {crop}")
    if channels not in (1, 3):
        raise ValueError(f"params.yaml: data.channels must be 1 or 3, got {channels}")
    rule = CROPS[crop]
    mode = "RGB" if channels == 3 else "L"
    if image.mode != mode:
        image = image.convert(mode)
    if rule.shrink_first:
        image = _resize(image, _short_side(*image.size, size), rule.kernel)
    cut = _resize(image.crop(rule.box(*image.size)), (size, size), rule.kernel)
    return np.asarray(cut, dtype=np.uint8).reshape(size, size, channels)


def _resize(image: Image.Image, size: tuple[int, int], kernel: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, kernel)


def _short_side(width: int, height: int, size: int) -> tuple[int, int]:
    short = min(width, height)
    return round(width * size / short), round(height * size / short)


def _whole(width: int, height: int) -> Box:
    return 0, 0, width, height


def _whole_square(width: int, height: int) -> Box:
    if width != height:
        raise ValueError(
            f"crop none keeps square frames, got {width}x{height}; "
            "choose data.crop squash (whole frame), short-side, or a CelebA crop"
        )
    return 0, 0, width, height


def _centre_square(width: int, height: int) -> Box:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _celeba_box(name: str, left: int, top: int, side: int) -> Callable[[int, int], Box]:
    """The box of an aligned 178x218 frame, scaled with the frame; odd offsets are rounded down."""

    def box(width: int, height: int) -> Box:
        if not _is_celeba_frame(width, height):
            raise ValueError(
                f"crop {name} needs the aligned {FRAME[0]}x{FRAME[1]} frame or a scaled one, got {width}x{height}; "
                "choose data.crop squash or short-side, or fetch the aligned images (data/README.md)"
            )
        x, y = left * width // FRAME[0], top * height // FRAME[1]
        scaled = round(side * height / FRAME[1])
        return x, y, x + scaled, y + scaled

    return box


def _is_celeba_frame(width: int, height: int) -> bool:
    """Whether one scale takes 178x218 to this frame, each side rounded to the nearest pixel."""
    lowest = max((width - 0.5) / FRAME[0], (height - 0.5) / FRAME[1])
    highest = min((width + 0.5) / FRAME[0], (height + 0.5) / FRAME[1])
    return lowest <= highest


BICUBIC, BILINEAR, AREA = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX

CROPS = {
    "none": Crop(_whole_square, BICUBIC, "square images; enlarged digits get round strokes without echoes"),
    "ddim-128": Crop(
        _celeba_box("ddim-128", 25, 57, 128),
        BILINEAR,
        "CelebA rows 57:185, columns 25:153; DDIM, PNDM, DPM-Solver, Analytic-DPM, U-ViT",
    ),
    "scoresde-140": Crop(
        _celeba_box("scoresde-140", 19, 39, 140),
        BILINEAR,  # PIL widens the triangle when it shrinks: this is the antialiased kind
        "CelebA centre 140x140; score_sde, Soft Truncation, Min-SNR",
    ),
    "squash": Crop(_whole, BILINEAR, "whole frame, aspect given up; DDPM-IP"),
    "short-side": Crop(
        _centre_square,
        AREA,
        "short side to the size, then the centre; KimRass/DDPM",
        shrink_first=True,
    ),
}
"""Name -> rule: the only list of crops."""
