"""Moving pictures: GIF, WebP, mp4 and WebM from the same frames, each with the parameters that made it inside."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXIF_IMAGE_DESCRIPTION = 0x010E
CLOCK_HZ = 1000
"""Videos count milliseconds, so that every frame may stay as long as it wants."""


LOSSLESS_BYTES = 1_000_000


@dataclass(frozen=True)
class Animation:
    """Frames of one size, and how long each is shown.

    Attributes:
        frames: RGB, at least two.
        milliseconds: of each frame, at least 20: browsers show faster ones slower.
        still: the number of the frame that stands for all of them, in print and where nothing may move.
    """

    frames: Sequence[Image.Image]
    milliseconds: Sequence[int]
    still: int = -1

    def __post_init__(self) -> None:
        if len(self.frames) < 2 or len(self.frames) != len(self.milliseconds):
            raise ValueError(
                f"animation: needs at least two frames with one duration each, got {len(self.frames)} frames and "
                f"{len(self.milliseconds)} durations"
            )
        if min(self.milliseconds) < 20:
            raise ValueError(f"animation: a frame must stay for at least 20 ms, got {min(self.milliseconds)}")
        sizes = {frame.size for frame in self.frames}
        if len(sizes) > 1:
            raise ValueError(f"animation: frames must have one size, got {sorted(sizes)}")


def save_webp(animation: Animation, path: Path, about: Mapping[str, str]) -> None:
    """Write a WebP that loops; `about` stands in its EXIF description as JSON.

    Pixels are kept exactly where that takes at most `LOSSLESS_BYTES`; noise in color takes far more, and is then stored
    with losses that the eye does not find.
    """
    content = _webp(animation, about, lossless=True)
    if len(content) > LOSSLESS_BYTES:
        content = _webp(animation, about, lossless=False)
    path.write_bytes(content)


def _webp(animation: Animation, about: Mapping[str, str], *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    first, *others = animation.frames
    first.save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=list(animation.milliseconds),
        loop=0,
        lossless=lossless,
        quality=80,
        method=4,
        exif=_exif(about),
    )
    return buffer.getvalue()


def save_gif(animation: Animation, path: Path, about: Mapping[str, str]) -> None:
    """Write a GIF that loops; one palette of 256 colors serves all frames, so that still parts do not flicker.

    `about` stands in its comment as JSON. GIF counts hundredths of a second: durations are rounded to them.
    """
    palette = _palette(animation.frames)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in animation.frames)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[max(2, round(duration / 10)) * 10 for duration in animation.milliseconds],
        loop=0,
        optimize=False,
        comment=_text(about).encode(),
    )


def save_mp4(animation: Animation, path: Path, about: Mapping[str, str]) -> None:
    """Write H.264 in mp4, playable everywhere and before it is there; `about` stands in the tag `comment` as JSON."""
    # without bf 0 frames would be stored out of order, and the muxer would misread how long each lasts
    _save_video(animation, path, about, "mp4", "libx264", {"crf": "20", "preset": "medium", "threads": "1", "bf": "0"})


def save_webm(animation: Animation, path: Path, about: Mapping[str, str]) -> None:
    """Write VP9 in WebM; `about` stands in the tag `comment` as JSON."""
    options = {"crf": "26", "b:v": "0", "threads": "1", "row-mt": "0", "cpu-used": "4"}
    _save_video(animation, path, about, "webm", "libvpx-vp9", options)


FORMATS: dict[str, Callable[[Animation, Path, Mapping[str, str]], None]] = {
    ".webp": save_webp,
    ".gif": save_gif,
    ".mp4": save_mp4,
    ".webm": save_webm,
}
"""Suffix -> how a moving picture is written."""


def read_animation_about(path: Path) -> dict[str, str]:
    """Return what a WebP, GIF, mp4 or WebM was told about itself.

    Raises:
        ValueError: the file is none of them, or says nothing.
    """
    try:
        text = _video_comment(path) if path.suffix in (".mp4", ".webm") else _picture_comment(path)
        about: dict[str, str] = json.loads(text)
    except ValueError as error:  # what is wrong with JSON, and with the bytes of a video
        raise ValueError(f"{path.name} must carry the parameters that made it, got none ({error})") from None
    return about


def _video_comment(path: Path) -> str:
    import av

    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return tags.get("comment", "")


def _picture_comment(path: Path) -> str:
    try:
        with Image.open(path, formats=("WEBP", "GIF")) as image:
            comment = image.info.get("comment", b"")
            text: str = image.getexif().get(EXIF_IMAGE_DESCRIPTION, "") or comment.decode()
    except UnidentifiedImageError:
        raise ValueError("neither WebP nor GIF") from None
    return text


def _text(about: Mapping[str, str]) -> str:
    return json.dumps(dict(about), sort_keys=True)


def _exif(about: Mapping[str, str]) -> bytes:
    exif = Image.Exif()
    exif[EXIF_IMAGE_DESCRIPTION] = _text(about)
    return exif.tobytes()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """The 256 colors of up to nine frames, evenly taken from the first to the last."""
    chosen = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(9, len(frames)))]
    sheet = Image.new("RGB", (chosen[0].width, chosen[0].height * len(chosen)))
    for row, frame in enumerate(chosen):
        sheet.paste(frame, (0, row * frame.height))
    return sheet.quantize(colors=256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _save_video(
    animation: Animation, path: Path, about: Mapping[str, str], container: str, codec: str, options: dict[str, str]
) -> None:
    """Encode on one thread and without a clock, so that one build of the codec gives the same bytes.

    Color is stored for every second pixel only: frames of odd width or height get a white edge of one pixel.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    width, height = (side + side % 2 for side in animation.frames[0].size)
    flags = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if container == "mp4" else {})
    with av.open(str(path), "w", format=container, container_options=flags) as file:
        file.metadata["comment"] = _text(about)
        stream = file.add_stream(codec, rate=Fraction(CLOCK_HZ, min(animation.milliseconds)), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK_HZ)
        # said aloud, because players guess the matrix of unnamed colors by the size of the picture
        coder = stream.codec_context
        coder.colorspace, coder.color_range = Colorspace.ITU709, ColorRange.MPEG
        for begin, pixels in _timed(animation, width, height):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
            frame.pts, frame.time_base = begin, Fraction(1, CLOCK_HZ)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def _timed(animation: Animation, width: int, height: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(begin in milliseconds, pixels); the last frame comes twice, for a frame lasts until the next one."""
    begin = 0
    for frame, duration in zip(animation.frames, animation.milliseconds, strict=True):
        sheet = Image.new("RGB", (width, height), "white")
        sheet.paste(frame.convert("RGB"), (0, 0))
        pixels = np.asarray(sheet)
        yield begin, pixels
        begin += duration
    yield begin, pixels
