"""Image to image: columns, the noise that they share, crude versions, refusals."""

import numpy as np
import pytest
import torch

from ddpm.data.store import open_split
from ddpm.drawing.crude import CRUDE, blocks, strokes
from ddpm.drawing.labeled import labeled
from ddpm.engine.batches import to_pixels
from ddpm.figures import image_to_image
from ddpm.figures.image_to_image import Options, draw


@pytest.fixture
def drawn(monkeypatch):
    """Draw, and return the tiles and the labels of the columns."""

    def spied(made, options):
        seen = []

        def spy(pixels, zoom, rows=(), columns=(), caption=""):
            seen.append((pixels, tuple(columns)))
            return labeled(pixels, zoom, rows, columns, caption)

        monkeypatch.setattr(image_to_image, "labeled", spy)
        draw(made, options)
        return seen[0]

    return spied


def test_columns_are_source_guide_and_times(material, drawn):
    made = material("figures.zoom=6")
    pixels, columns = drawn(made, Options(images=(2, 5), times=(1, 8, 20)))
    assert pixels.shape == (2, 5, 8, 8, 1)
    assert columns == ("source", "strokes", "t = 1", "t = 8", "t = 20")
    held_out = open_split(made.places.data, "valid").images
    assert (pixels[:, 0] == [held_out[2], held_out[5]]).all()
    assert (pixels[:, 1] == [CRUDE["strokes"](np.asarray(held_out[k])) for k in (2, 5)]).all()
    usual = drawn(made, Options(images=(2,)))[1]
    assert usual[2:] == tuple(f"t = {t}" for t in (2, 4, 6, 8, 10, 12, 16))


def test_a_column_is_the_guide_noised_and_walked_back(material, drawn):
    made = material("figures.zoom=6")
    pixels, columns = drawn(made, Options(images=(0, 1), guide="image", times=(5, 12), split="train"))
    assert columns == ("source", "t = 5", "t = 12")
    x0, labels = made.images(made.train, (0, 1))
    reverse, index = made.reverse(), made.numbers(2)
    for column, t in ((1, 5), (2, 12)):
        x_t = reverse.noised(x0, t, index, "image-to-image: eps")
        with torch.inference_mode():
            *_, last = reverse.walk(x_t, index, labels, t=t, purpose="image-to-image: reverse noise")
        assert (pixels[:, column] == to_pixels(last.x_s).numpy()).all()


def test_the_same_bytes_twice_and_refusals(material):
    made = material("figures.zoom=6")
    first, second = (draw(made, Options(images=(0,), times=(10,))) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    with pytest.raises(ValueError, match="--images must name at least one image"):
        draw(made, Options(images=()))
    with pytest.raises(ValueError, match="--times must be at most T = 20, got 21"):
        draw(made, Options(times=(3, 21)))


@pytest.mark.parametrize("channels", [1, 3])
def test_crude_versions_are_crude(channels):
    image = np.random.default_rng(0).integers(0, 256, (24, 33, channels), dtype=np.uint8)
    flat = strokes(image)
    assert flat.shape == image.shape
    assert len(np.unique(flat.reshape(-1, channels), axis=0)) <= 6
    squares = blocks(image)
    assert squares.dtype == np.uint8
    assert (squares[3:6, 6:9] == image[3:6, 6:9].mean(axis=(0, 1)).round()).all()
    assert CRUDE["image"](image) is image
    uniform = np.full_like(image, 77)
    assert (strokes(uniform) == uniform).all()
    assert (blocks(uniform) == uniform).all()
