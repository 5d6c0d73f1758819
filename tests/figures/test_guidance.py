"""The guidance sweep: rows, the noise that they share, and which nets it needs."""

import numpy as np
import pytest
import torch

from ddpm.drawing.labeled import labeled
from ddpm.engine.batches import to_pixels
from ddpm.engine.sample import labels_of
from ddpm.figures import guidance
from ddpm.figures.guidance import Options, draw


def test_a_row_is_what_sampling_at_its_scale_gives(material, monkeypatch):
    made, seen = material("figures.zoom=6", "model.channels=64"), []  # 32 are blind to labels

    def spy(pixels, zoom, rows=(), columns=(), caption=""):
        seen.append((pixels, tuple(rows), tuple(columns)))
        return labeled(pixels, zoom, rows, columns, caption)

    monkeypatch.setattr(guidance, "labeled", spy)
    first, second = (draw(made, Options(scales=(0.0, 1.0, 5.5), images=11)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    pixels, rows, columns = seen[0]
    assert rows == ("scale 0", "scale 1", "scale 5.5")
    assert columns == tuple(f"class {k % 10}" for k in range(11))
    assert pixels.shape == (3, 11, 8, 8, 1)
    index = made.numbers(11)
    for row, scale in enumerate((0.0, 1.0, 5.5)):
        reverse = made.reverse(guidance_scale=scale)
        with torch.inference_mode():
            *_, last = reverse.walk(reverse.prior(index), index, labels_of(made.checkpoint, index))
        assert (pixels[row] == to_pixels(last.x_s).numpy()).all()
    assert not np.array_equal(pixels[0], pixels[1])


def test_nets_that_cannot_be_guided_are_refused(material):
    for overrides in (["objective.label_dropout=0"], ["model.num_classes=0", "objective.label_dropout=0"]):
        made = material(*overrides, "sample.guidance_scale=1")
        with pytest.raises(ValueError, match="guidance needs a net with classes trained with label dropout"):
            draw(made, Options())
    with pytest.raises(ValueError, match="--scales must name at least one scale"):
        draw(material(), Options(scales=()))
