"""How a photograph becomes an image of the wanted size: the named crop rules.

Numbers measured on differently cropped faces are not comparable, so a rule has a name, and the name is recorded with
the prepared images. To add a rule, add one entry to `CROPS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.frames import Frame

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, as in PIL: right and bottom lie outside."""
Size: TypeAlias = tuple[int, int]
"""Width and height in pixels, as in PIL."""
Shrink: TypeAlias = Callable[[Image.Image, Size, Image.Resampling], Image.Image]

FRAME = (178, 218)
"""Width and height of an aligned CelebA photograph."""

BILINEAR, BICUBIC, LANCZOS, AREA = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
    Image.Resampling.BOX,
)
KERNELS = {"bilinear": BILINEAR, "bicubic": BICUBIC, "lanczos": LANCZOS, "box": AREA}
"""Pillow's filters; all of them are widened when they shrink, which is what others call antialiased."""
OF_THE_CROP = "crop"
"""The name of the kernel that belongs to the crop."""


@dataclass(frozen=True)
class Crop:
    """A crop rule: cut `box` out of the frame, then resize the cut with `kernel` unless it has the size already."""

    box: Callable[[Size, Size], Box]
    """(size of the frame, wanted size) -> what to cut out."""
    kernel: Image.Resampling
    purpose: str
    shrink: Shrink | None = None
    """Bring the frame near to the size before the box is cut."""


def apply_crop(frame: Frame, crop: str, resample: str, size: Size, *, halve: bool = True) -> NDArray[np.uint8]:
    """Crop and resize one image; a cut that already has the size is not resampled.

    Args:
        frame: an upright image.
        crop: a name in `CROPS`.
        resample: a name in `KERNELS`, or `crop` for the kernel of the rule.
        size: width and height of the result.
        halve: False returns a cut of RGB pixels that the bilinear kernel would halve as it is, twice as high and wide.

    Returns:
        (height, width) of a gray frame, (height, width, 3) of an RGB one; it may be a view of the frame.

    Raises:
        ValueError: an unknown name, or a frame that the crop is not defined on.
    """
    if crop not in CROPS:
        raise ValueError(f"params.yaml: data.crop must be one of {', '.join(CROPS)}, got {crop}")
    rule, kernel = CROPS[crop], kernel_of(crop, resample)
    if rule.shrink is not None:
        frame = Frame(rule.shrink(frame.image(frame.mode), size, kernel))
    left, top, right, bottom = box = _box(crop, frame.size, size)
    if isinstance(frame.source, np.ndarray):
        cut, twice = (right - left, bottom - top), (2 * size[0], 2 * size[1])
        if cut == size or (cut == twice and kernel == BILINEAR and not halve):
            return frame.source[top:bottom, left:right]
    return np.asarray(_resize(frame.cut(box), size, kernel))


@lru_cache(1024)  # most frames of a data set have one size
def _box(crop: str, frame: Size, size: Size) -> Box:
    return CROPS[crop].box(frame, size)


def kernel_of(crop: str, resample: str) -> Image.Resampling:
    """The filter that is used: that of the rule, or the one that is asked for.

    Raises:
        ValueError: an unknown filter.
    """
    if resample == OF_THE_CROP:
        return CROPS[crop].kernel
    if resample not in KERNELS:
        raise ValueError(f"params.yaml: data.resample must be crop or one of {', '.join(KERNELS)}, got {resample}")
    return KERNELS[resample]


def _resize(image: Image.Image, size: Size, kernel: Image.Resampling) -> Image.Image:
    return image if image.size == size else image.resize(size, kernel)


def _to_cover(image: Image.Image, size: Size, kernel: Image.Resampling) -> Image.Image:
    """Resize so that the frame covers the wanted size, and one of its sides fits: the short one, for a square."""
    scale = max(size[0] / image.width, size[1] / image.height)
    return _resize(image, (round(image.width * scale), round(image.height * scale)), kernel)


def _halves_to_cover(image: Image.Image, size: Size, kernel: Image.Resampling) -> Image.Image:
    """Halve by means of 2x2 pixels while the frame covers twice the wanted size, then resize to cover it."""
    while image.width >= 2 * size[0] and image.height >= 2 * size[1]:
        image = image.resize((image.width // 2, image.height // 2), AREA)
    return _to_cover(image, size, kernel)


def _whole(frame: Size, size: Size) -> Box:  # noqa: ARG001
    return 0, 0, *frame


def _whole_as_shaped(frame: Size, size: Size) -> Box:
    if frame[0] * size[1] != frame[1] * size[0]:
        raise ValueError(
            f"crop none keeps frames of the shape {size[0]}x{size[1]} (width x height), got {frame[0]}x{frame[1]}; "
            "choose data.crop squash (whole frame), short-side, or a CelebA crop"
        )
    return 0, 0, *frame


def _center(frame: Size, size: Size) -> Box:
    left, top = (frame[0] - size[0]) // 2, (frame[1] - size[1]) // 2
    return left, top, left + size[0], top + size[1]


def _celeba_box(name: str, left: int, top: int, side: int) -> Callable[[Size, Size], Box]:
    """The box of an aligned 178x218 frame, scaled with the frame; odd offsets are rounded down."""

    def box(frame: Size, size: Size) -> Box:
        width, height = frame
        if not _is_celeba_frame(width, height):
            raise ValueError(
                f"crop {name} needs the aligned {FRAME[0]}x{FRAME[1]} frame or a scaled one, got {width}x{height}; "
                "choose data.crop squash or short-side, or fetch the aligned images (data/README.md)"
            )
        if size[0] != size[1]:
            raise ValueError(f"crop {name} is square, got {size[0]}x{size[1]}; set data.image_width to 0")
        x, y = left * width // FRAME[0], top * height // FRAME[1]
        scaled = round(side * height / FRAME[1])
        return x, y, x + scaled, y + scaled

    return box


def _is_celeba_frame(width: int, height: int) -> bool:
    """Whether one scale takes 178x218 to this frame, each side rounded to the nearest pixel."""
    lowest = max((width - 0.5) / FRAME[0], (height - 0.5) / FRAME[1])
    highest = min((width + 0.5) / FRAME[0], (height + 0.5) / FRAME[1])
    return lowest <= highest


CROPS = {
    "none": Crop(
        _whole_as_shaped,
        BICUBIC,
        "the whole of images that have the shape already; enlarged digits get round strokes without echoes",
    ),
    "ddim-128": Crop(
        _celeba_box("ddim-128", 25, 57, 128),
        BILINEAR,
        "CelebA rows 57:185, columns 25:153; DDIM, PNDM, DPM-Solver, Analytic-DPM, U-ViT",
    ),
    "scoresde-140": Crop(
        _celeba_box("scoresde-140", 19, 39, 140),
        BILINEAR,  # PIL widens the triangle when it shrinks: this is the antialiased kind
        "CelebA center 140x140; score_sde, Soft Truncation, Min-SNR",
    ),
    "squash": Crop(_whole, BILINEAR, "whole frame, aspect given up; DDPM-IP"),
    "short-side": Crop(_center, AREA, "resized to cover the size, then the center; KimRass/DDPM", _to_cover),
    "adm": Crop(
        _center,
        BICUBIC,
        "halved by 2x2 means while twice too large, resized to cover the size, then the center; ADM, EDM, DiT",
        _halves_to_cover,
    ),
}
"""Name -> rule: the only list of crops."""
