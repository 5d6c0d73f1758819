"""Mixes of two real images: their places, their ends, and what they are told."""

import numpy as np
import pytest
import torch

from ddpm.drawing.grid import PADDING
from ddpm.engine.batches import to_pixels
from ddpm.figures import coarse_to_fine, interpolation
from ddpm.figures.figure import save
from ddpm.figures.mixed import mix_labels, mixing_for

ZOOM = "figures.zoom=12"  # tiles so wide that no heading is wider than they are
SIDE = 8 * 12
UNCONDITIONAL = ["model.num_classes=0", "objective.label_dropout=0.0", "sample.guidance_scale=1.0"]


def tiles_of(picture, rows: int) -> np.ndarray:
    """The image pixels of rows x 12 tiles, read out of a picture by their position."""
    sheet = np.asarray(picture)[-(rows * (SIDE + PADDING) + PADDING) :, -(12 * (SIDE + PADDING) + PADDING) :]
    step = SIDE + PADDING
    return np.stack(
        [
            [sheet[PADDING + r * step :, PADDING + c * step :][:SIDE:12, :SIDE:12, :1] for c in range(12)]
            for r in range(rows)
        ]
    )


def test_rows_are_source_mixes_source(material):
    given = material(ZOOM)
    picture = interpolation.draw(given, interpolation.Options(images=(3, 5, 7, 2)))
    tiles, images = tiles_of(picture, 2), np.asarray(given.train.images)
    assert tiles.shape == (2, 12, 8, 8, 1)
    assert np.array_equal(tiles[:, 0], images[[3, 7]])
    assert np.array_equal(tiles[:, -1], images[[5, 2]])
    assert len(np.unique(tiles.reshape(24, -1), axis=0)) == 24


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_ends_are_the_sources_noised_and_denoised(material, path):
    given = material(ZOOM, *UNCONDITIONAL)
    reverse, t = given.reverse(), 10
    picture = interpolation.draw(given, interpolation.Options(images=(3, 5), t=t, path=path))
    tiles = tiles_of(picture, 1)[0]
    x0, _ = given.images(given.train, [3, 5])
    index = torch.zeros(1, dtype=torch.int64)
    for source, tile in ((x0[:1], tiles[1]), (x0[1:], tiles[-2])):
        x_t = reverse.noised(source, t, index, "interpolation: noise")
        with torch.inference_mode():
            *_, last = reverse.walk(x_t, index, None, t=t, purpose="interpolation: reverse noise")
        expected = to_pixels(last.x_s).numpy()[0]
        assert np.abs(tile.astype(int) - expected).max() <= 1  # kernels round by the size of a batch


def test_coarse_to_fine_ends_in_mixed_pixels(material):
    given = material(ZOOM, *UNCONDITIONAL)
    options = coarse_to_fine.Options(images=(3, 5), rows=9)
    tiles = tiles_of(coarse_to_fine.draw(given, options), 9)
    images = np.asarray(given.train.images)[[3, 5]].astype(np.float64)
    assert tiles.shape == (9, 12, 8, 8, 1)
    for row in range(9):
        assert np.array_equal(tiles[row, 0], images[0])
        assert np.array_equal(tiles[row, -1], images[1])
    for k in range(10):
        mixed = (1 - k / 9) * images[0] + k / 9 * images[1]
        assert np.abs(tiles[8, 1 + k] - mixed).max() <= 0.51


@pytest.mark.parametrize(("noise", "alike"), [("shared", True), ("independent", False)])
def test_shared_noise_leaves_nothing_of_the_sources_at_T(material, noise, alike):
    given = material(ZOOM, *UNCONDITIONAL, "schedule.zero_terminal_snr=true", "objective.target=v")
    picture = coarse_to_fine.draw(given, coarse_to_fine.Options(images=(3, 5), rows=2, noise=noise))
    top = tiles_of(picture, 2)[0, 1:-1]
    assert (np.ptp(top, axis=0).max() == 0) == alike


def test_labels(material):
    labels = torch.tensor([4, 9])
    with_dropout = material().checkpoint
    assert mixing_for(with_dropout, "linear", "shared", "auto", 3).labels == "none"
    nearer = mixing_for(with_dropout, "linear", "shared", "nearer", 5)
    assert mix_labels(labels, nearer, 10).tolist() == [4, 4, 4, 9, 9]
    none = mixing_for(with_dropout, "linear", "shared", "none", 3)
    assert mix_labels(labels, none, 10).tolist() == [10, 10, 10]
    assert mixing_for(material(*UNCONDITIONAL).checkpoint, "linear", "shared", "none", 3).labels == ""


def test_only_independent_noise_on_a_line_shrinks(material):
    checkpoint = material().checkpoint
    said = {
        (path, noise)
        for path in ("linear", "spherical")
        for noise in ("shared", "independent")
        if "0.71" in mixing_for(checkpoint, path, noise, "auto", 3).text
    }
    assert said == {("linear", "independent")}


@pytest.mark.parametrize(
    ("figure", "options"),
    [(interpolation, interpolation.Options(images=(0, 1))), (coarse_to_fine, coarse_to_fine.Options(rows=2))],
)
def test_same_bytes(material, tmp_path, figure, options):
    for name in "ab":
        save(figure.draw(material(), options), tmp_path / f"{name}.png", {})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("figure", "options", "words"),
    [
        (interpolation, interpolation.Options(images=(0, 1, 2)), "--images must name pairs, such as 0,1, got 3"),
        (interpolation, interpolation.Options(images=()), "--images must name pairs, such as 0,1, got 0"),
        (interpolation, interpolation.Options(t=21), "--t must be at most T = 20, got 21"),
        (interpolation, interpolation.Options(labels="none"), "--labels must be nearer or auto .* got none"),
        (coarse_to_fine, coarse_to_fine.Options(images=(0, 1, 2)), "--images must name two, such as 0,1, got 3"),
        (interpolation, interpolation.Options(images=(0, 20)), "image 20 is asked for, but there are 20"),
    ],
)
def test_refusals(material, figure, options, words):
    with pytest.raises(ValueError, match=words):
        figure.draw(material("objective.label_dropout=0.0", "sample.guidance_scale=1.0"), options)
