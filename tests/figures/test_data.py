"""The data card as a figure: the picture of `data describe`."""

import numpy as np
import pytest

from ddpm.drawing.png import read_about
from ddpm.engine import describe
from ddpm.figures import data
from ddpm.figures.data import Options


def test_it_is_the_card_of_data_describe(material, tmp_path):
    given = material("figures.seed=3")
    prepared = describe.open_prepared(given.places.data, "valid")
    described, about = describe.card(prepared, None, 3)
    assert data.draw(given, Options(split="valid")) == described
    describe.draw(prepared, tmp_path / "card.png", None, 3)
    assert read_about(tmp_path / "card.png") == about


def test_options_and_the_seed_choose_what_is_seen(material):
    pictures = [
        data.draw(material(f"figures.seed={seed}"), options)
        for seed, options in ((0, Options()), (1, Options(images=10)), (2, Options(images=10)), (0, Options("valid")))
    ]
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_a_split_without_images_is_refused(material):
    given = material()
    text = (given.places.data / "manifest.json").read_text()
    (given.places.data / "manifest.json").write_text(text.replace('"images": 10', '"images": 0'))
    with pytest.raises(ValueError, match="data: --split must have images, valid has none; name train"):
        data.draw(given, Options(split="valid"))
    assert np.asarray(data.draw(given, Options())).ndim == 3
