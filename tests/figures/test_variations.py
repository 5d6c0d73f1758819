"""Samples that share x_t, and many of them on their way."""

import numpy as np
import pytest
import torch

from ddpm.drawing.grid import PADDING
from ddpm.engine.sample import labels_of
from ddpm.figures import denoising_matrix, variations
from ddpm.figures.figure import save


def drawn(given, t: int, draws: int = 3):
    reverse = given.reverse(sampler="ddim", eta=1.0)
    index = torch.tensor([0, 4])
    labels = labels_of(given.checkpoint, index)
    with torch.inference_mode():
        x_t = variations.on_the_way(reverse, index, labels, [t])[t]
        return x_t, variations.tiles(reverse, x_t, t, index, labels, draws)


def test_draws_from_a_noisy_image_differ(material):
    _, tiles = drawn(material(), 12)
    assert tiles.shape == (2, 4, 8, 8, 1)
    assert len(np.unique(tiles.reshape(8, -1), axis=0)) == 8


def test_all_draws_from_t_0_are_the_sample_itself(material):
    _, tiles = drawn(material(), 0)
    assert (tiles == tiles[:, :1]).all()


def test_the_shared_image_lies_on_the_trajectory(material):
    given = material()
    reverse, index = given.reverse(sampler="ddim", eta=1.0), torch.tensor([0, 4])
    with torch.inference_mode():
        states = {s.s: s.x_s for s in reverse.walk(reverse.prior(index), index, labels_of(given.checkpoint, index))}
    torch.testing.assert_close(drawn(given, 12)[0], states[12], rtol=0, atol=0)


def test_a_deterministic_section_does_not_make_all_draws_one(material):
    given = material("sample.sampler=dpmpp-2m", "sample.eta=0.0")
    picture = variations.draw(given, variations.Options(numbers=(0,), times=(20,), draws=2))
    sheet = np.asarray(picture)[-(32 + 2 * PADDING) :, -(3 * (32 + PADDING) + PADDING) :]
    first, second = (sheet[PADDING:38, PADDING + k * (32 + PADDING) :][:, :32] for k in (1, 2))
    assert first.any()
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(("show", "columns"), [("x_t", 6), ("x0_hat", 5)])
def test_the_matrix_has_a_row_for_each_sample_and_no_time_twice(material, show, columns):
    picture = denoising_matrix.draw(material("figures.zoom=8"), denoising_matrix.Options(rows=7, show=show))
    assert picture.height == 7 * 70 + 6 + 23 + 29
    assert np.asarray(picture)[-1, : columns * 70 + 6].max() == 0
    assert picture.width >= columns * 70 + 6


@pytest.mark.parametrize(
    ("figure", "options"),
    [
        (variations, variations.Options()),
        (denoising_matrix, denoising_matrix.Options(rows=2)),
        (denoising_matrix, denoising_matrix.Options(rows=2, show="x0_hat")),
    ],
)
def test_same_bytes(material, tmp_path, figure, options):
    for name in "ab":
        save(figure.draw(material(), options), tmp_path / f"{name}.png", {})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_refusals(material):
    with pytest.raises(ValueError, match="--numbers must name at least one sample, such as 0,1, got none"):
        variations.draw(material(), variations.Options(numbers=()))
    with pytest.raises(ValueError, match="--times must be at most T = 20, got 21"):
        variations.draw(material(), variations.Options(times=(21,)))
