"""Moving pictures, read back: frames, how long each stays, colors, and what the file says about itself."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from ddpm.drawing import animation as module
from ddpm.drawing.animation import FORMATS, Animation, read_animation_about, save_webp

MILLISECONDS = (40, 40, 100, 40, 60, 1000)
ABOUT = {"ddpm.figure": '{"name": "é"}', "ddpm.sample": "{}"}
BLUE = (0, 114, 178)


@pytest.fixture
def animation() -> Animation:
    """A blue square that moves on paper of odd width and height."""
    frames = []
    for number in range(len(MILLISECONDS)):
        frames.append(Image.new("RGB", (75, 51), "white"))
        ImageDraw.Draw(frames[-1]).rectangle((5 * number, 6, 5 * number + 21, 39), fill=BLUE)
    return Animation(frames, MILLISECONDS)


def read(path) -> tuple[list[np.ndarray], list[float]]:
    """Frames as RGB arrays, and for how many milliseconds each is shown."""
    if path.suffix in (".mp4", ".webm"):
        with av.open(str(path)) as file:
            found = list(file.decode(video=0))
            ends = [*(round(1000 * frame.time) for frame in found[1:]), round(file.duration / 1000)]
            pixels = [frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray() for frame in found]
        return pixels, [end - round(1000 * frame.time) for frame, end in zip(found, ends, strict=True)]
    pixels, durations = [], []
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            pixels.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
        assert image.info["loop"] == 0, "an endless loop"
    return pixels, durations


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_all_frames_for_as_long_as_they_want(animation, tmp_path, suffix):
    path = tmp_path / f"moving{suffix}"
    FORMATS[suffix](animation, path, ABOUT)
    pixels, durations = read(path)
    assert tuple(durations[: len(MILLISECONDS)]) == MILLISECONDS
    assert len(durations) - len(MILLISECONDS) == (suffix in (".mp4", ".webm")), "a video ends with its last frame twice"
    assert 0 <= durations[-1] <= 1000, "and is not cut before it"
    off = 0 if suffix in (".webp", ".gif") else 6  # out of 255, lossy
    for found, frame in zip(pixels, animation.frames, strict=False):
        inside = found[: frame.height, : frame.width].astype(int)
        assert abs(inside - np.asarray(frame)).mean() <= off / 2
        assert (abs(inside[45, 5] - 255) <= off / 2).all(), "paper stays white"
    assert (abs(pixels[0][20, 10].astype(int) - BLUE) <= off).all(), "and blue stays blue"


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_says_how_it_was_made(animation, tmp_path, suffix):
    path = tmp_path / f"moving{suffix}"
    FORMATS[suffix](animation, path, ABOUT)
    assert read_animation_about(path) == ABOUT


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_has_the_same_bytes_twice(animation, tmp_path, suffix):
    paths = [tmp_path / f"{name}.tmp" for name in ("one", "two")]  # the name decides nothing
    for path in paths:
        FORMATS[suffix](animation, path, ABOUT)
    first, second = (path.read_bytes() for path in paths)
    assert first == second


def test_videos_have_an_even_number_of_pixels_and_a_white_edge(animation, tmp_path):
    for suffix in (".mp4", ".webm"):
        FORMATS[suffix](animation, tmp_path / f"moving{suffix}", ABOUT)
        pixels, _ = read(tmp_path / f"moving{suffix}")
        assert pixels[0].shape == (52, 76, 3)
        assert pixels[0][-1].min() > 245
        assert pixels[0][:, -1].min() > 245


def test_an_mp4_plays_before_it_is_there(animation, tmp_path):
    path = tmp_path / "moving.mp4"
    FORMATS[".mp4"](animation, path, ABOUT)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index stands before the frames"


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_picture_that_stands_still_keeps_its_time(animation, tmp_path, suffix):
    still = Animation([animation.frames[0]] * 3 + [animation.frames[1]], (100, 200, 300, 3000))
    path = tmp_path / f"still{suffix}"
    FORMATS[suffix](still, path, ABOUT)
    _, durations = read(path)
    shown = sum(durations) - (durations[-1] if suffix in (".mp4", ".webm") else 0)
    assert shown == 3600


def test_a_gif_has_one_palette_so_that_still_parts_do_not_flicker(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 40, 60, 3), dtype=np.uint8)
    noise[:, :20] = noise[0, :20]
    path = tmp_path / "noise.gif"
    FORMATS[".gif"](Animation([Image.fromarray(frame) for frame in noise], [40] * 5), path, ABOUT)
    pixels, _ = read(path)
    assert all((one[:20] == other[:20]).all() for one, other in pairwise(pixels))
    assert any((one[20:] != other[20:]).any() for one, other in pairwise(pixels))


def test_what_is_no_animation_is_refused(animation, tmp_path):
    one = animation.frames[0]
    with pytest.raises(ValueError, match="at least two frames"):
        Animation([one], [40])
    with pytest.raises(ValueError, match="one duration each"):
        Animation([one, one], [40])
    with pytest.raises(ValueError, match="at least 20 ms, got 10"):
        Animation([one, one], [40, 10])
    with pytest.raises(ValueError, match="one size"):
        Animation([one, one.resize((10, 10))], [40, 40])
    one.save(tmp_path / "plain.webp")
    for name in ("broken.mp4", "broken.webm", "broken.gif"):
        (tmp_path / name).write_bytes(b"no picture at all")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=f"{path.name} must carry the parameters that made it"):
            read_animation_about(path)


def test_a_webp_is_exact_until_it_would_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    moving = Animation([Image.fromarray(frame) for frame in noise], [50, 50, 50])
    save_webp(moving, tmp_path / "exact.webp", {})
    monkeypatch.setattr(module, "LOSSLESS_BYTES", 1000)
    save_webp(moving, tmp_path / "small.webp", {})
    with Image.open(tmp_path / "exact.webp") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), noise[0])
    assert (tmp_path / "small.webp").stat().st_size < (tmp_path / "exact.webp").stat().st_size / 2
