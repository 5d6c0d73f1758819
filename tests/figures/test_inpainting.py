"""Inpainting: rows and columns, what is known in every fill, masks and refusals."""

import numpy as np
import pytest
import torch

from ddpm.data.store import open_split
from ddpm.drawing.labeled import labeled
from ddpm.figures import inpainting
from ddpm.figures.inpainting import Options, draw, known_pixels


@pytest.fixture
def tiles(monkeypatch):
    """Draw, and return what went into the picture: tiles, row labels, caption."""

    def drawn(made, options):
        seen = []

        def spy(pixels, zoom, rows=(), columns=(), caption=""):
            seen.append((pixels, tuple(rows), caption))
            return labeled(pixels, zoom, rows, columns, caption)

        monkeypatch.setattr(inpainting, "labeled", spy)
        draw(made, options)
        return seen[0]

    return drawn


@pytest.mark.parametrize("mask", ["center", "half", "frame", "random"])
@pytest.mark.parametrize("resampling", [1, 3])
def test_what_is_known_comes_back_and_the_rest_does_not(material, tiles, mask, resampling):
    made = material()
    pixels, rows, _ = tiles(made, Options(images=(4, 0, 7), mask=mask, resampling=resampling, fills=2))
    assert pixels.shape == (4, 3, 8, 8, 1)
    assert rows == ("original", "masked", "fill 1", "fill 2")
    held_out = open_split(made.places.data, "valid").images
    assert (pixels[0] == [held_out[k] for k in (4, 0, 7)]).all()
    known = known_pixels(mask, 8, 8, made.figures.seed).numpy()
    assert (pixels[:, :, known] == pixels[:1, :, known]).all()
    assert (pixels[1][:, ~known] == 128).all(), "hidden pixels are grey"
    assert (pixels[2][:, ~known] != pixels[0][:, ~known]).mean() > 0.5
    assert (pixels[2][:, ~known] != pixels[3][:, ~known]).mean() > 0.2, "fills differ"


def test_labels_and_split_are_passed_on(material, tiles):
    made = material("model.channels=64")  # one channel in each group of a norm is blind to labels
    train, _, caption = tiles(made, Options(images=(3,), split="train", fills=1))
    assert (train[0, 0] == open_split(made.places.data, "train").images[3]).all()
    assert caption == "Filled in: mask center, 5 steps, 4 passes at each"
    np.save(made.places.data / "train_labels.npy", np.full(20, 7))
    again, _, _ = tiles(material_of(made), Options(images=(3,), split="train", fills=1))
    assert (train[2] != again[2]).any(), "another label, another fill"


def material_of(made):
    """The same places, opened anew."""
    return type(made)(made.figures, made.sample, made.places, made.device)


def test_color_and_unequal_sides(material, tiles):
    overrides = ["data.source=folder", "data.labels=none", "data.channels=3", "data.image_width=16"]
    made = material(*overrides, "model.num_classes=0", "objective.label_dropout=0", "sample.guidance_scale=1")
    pixels, _, _ = tiles(made, Options(images=(0, 1), mask="half", fills=1))
    assert pixels.shape == (3, 2, 8, 16, 3)
    assert (pixels[[0, 2], :, :4] == pixels[:1, :, :4]).all()
    assert (pixels[2, :, 4:] != pixels[0, :, 4:]).any()


def test_masks_hide_what_they_say():
    center, half, frame, random = (known_pixels(name, 8, 12, 0) for name in ("center", "half", "frame", "random"))
    assert not center[2:6, 3:9].any()
    assert int((~center).sum()) == 4 * 6
    assert torch.equal(frame, ~center)
    assert half[:4].all()
    assert not half[4:].any()
    assert torch.equal(random, known_pixels("random", 8, 12, 0))
    assert not torch.equal(random, known_pixels("random", 8, 12, 1))
    assert float((~known_pixels("random", 64, 64, 0)).double().mean()) == pytest.approx(0.6, abs=0.03)


def test_the_same_bytes_twice_and_refusals(material):
    made = material()
    first, second = (draw(made, Options(images=(0, 1), fills=1)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    with pytest.raises(ValueError, match="--images must name at least one image"):
        draw(made, Options(images=()))
    with pytest.raises(ValueError, match="image 99 is asked for, but there are 10"):
        draw(made, Options(images=(99,)))
