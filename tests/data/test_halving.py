"""Halving by torch gives the pixels of Pillow, all of them; a run whose libraries differ is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ddpm.data.catalog import Item
from ddpm.data.decoder import BLOCK_IMAGES, Decoder
from ddpm.engine import prepare as room
from ddpm.engine.halving import halve
from ddpm.experiment.params import DataParams

Pixels = NDArray[np.uint8]
pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")


def by_pillow(images: Pixels) -> Pixels:
    _, height, width, _ = images.shape
    size = (width // 2, height // 2)
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images])


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    wider=st.integers(0, 40),
    levels=st.sampled_from([[0, 255], [0, 1, 2, 3], [127, 128], list(range(256))]),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_are_those_of_pillow(height: int, wider: int, levels: list[int], seed: int) -> None:
    shape = (3, 2 * height, 2 * (height + wider), 3)
    images = np.random.default_rng(seed).choice(np.array(levels, np.uint8), shape)
    np.testing.assert_array_equal(halve(images), by_pillow(images))


@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_pixels_are_those_of_pillow_at_the_usual_sizes(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (2**20 // side**2 + 1, side, side, 3), dtype=np.uint8)
    np.testing.assert_array_equal(halve(images), by_pillow(images))


def test_every_sum_at_an_edge_is_rounded_as_pillow_rounds_it() -> None:
    """All triples of some levels under (3, 3, 1)/7: three pixels of a row decide its first half."""
    levels = np.array([*range(5, 251, 5), *range(5), *range(251, 256)], np.uint8)
    triples = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    assert set(range(7 * 255 + 1)) == set((triples.astype(int) @ [3, 3, 1]).tolist())
    rows = np.zeros((len(triples), 1, 6, 1), np.uint8)
    rows[:, 0, :3, 0], rows[:, 0, 3:, 0] = triples, triples[:, ::-1]
    images = np.repeat(np.repeat(rows, 2, axis=1), 3, axis=3)
    wide = images.transpose(1, 0, 2, 3).reshape(2, -1, 6, 3)  # Pillow takes one image: a high one, filtered along rows
    tall = Image.fromarray(wide[0]).resize((3, len(triples)), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(halve(images)[:, 0], np.asarray(tall))


@pytest.mark.usefixtures("small_chunks")
def test_the_bytes_of_a_store_do_not_tell_who_halved(
    celeba: Callable[..., Path], data_params: Callable[..., DataParams], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, data = celeba(), data_params(image_size=64)
    room.prepare(data, raw, tmp_path / "pillow", tmp_path / "one", workers=2)
    monkeypatch.setattr(room, "PAYS_FROM", 1)
    calls: list[object] = []
    monkeypatch.setattr(room, "replace", lambda *args, **changes: calls.append(changes) or replace(*args, **changes))
    room.prepare(data, raw, tmp_path / "torch", tmp_path / "two", workers=2)
    assert calls == [{"halve": halve}] * 2
    for path in (tmp_path / "pillow").iterdir():
        assert (tmp_path / "torch" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("workers", "changes", "early"),
    [
        (2, {}, True),
        (1, {}, False),
        (2, {"image_size": 32}, False),
        (2, {"crop": "scoresde-140"}, False),
        (2, {"crop": "scoresde-140", "image_size": 70}, True),
        (2, {"resample": "bicubic"}, False),
        (2, {"crop": "squash", "image_size": 109, "image_width": 89}, False),
        (2, {"train_split": "train[0:32767]", "valid_split": "none"}, False),
        (2, {"train_split": "train[0:32768]", "valid_split": "none"}, True),
    ],
)
def test_torch_loads_early_where_faces_are_halved(
    data_params: Callable[..., DataParams],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    changes: dict[str, Any],
    early: bool,
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(room, "load_early", lambda: calls.append(True))
    data = data_params(**{"image_size": 64} | changes)
    for raw, expected in ((tmp_path / "nowhere", []), (tmp_path, [True] * early)):
        with pytest.raises(ValueError, match="must be here"):
            room.prepare(data, raw, tmp_path / "out", tmp_path / "work", workers=workers)
        assert calls == expected


def decoder(frames: Pixels, height: int, width: int, how: Callable[[Pixels], Pixels]) -> Decoder:
    return Decoder(lambda item: frames[item.place[0]], "squash", "bilinear", (height, width, 3), halve=how)


def test_only_what_is_halved_is_handed_over() -> None:
    count = 2 * BLOCK_IMAGES + 8
    frames = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    items = [Item(str(number), (number,)) for number in range(count)]
    handed: list[int] = []

    def noted(images: Pixels) -> Pixels:
        handed.append(len(images))
        return halve(images)

    halving, other = decoder(frames, 8, 8, noted), decoder(frames, 6, 6, noted)
    assert halving.halves(items[0])
    assert not other.halves(items[0])
    np.testing.assert_array_equal(halving(items).images, by_pillow(frames))
    assert handed == [BLOCK_IMAGES, BLOCK_IMAGES, 8]
    images = other(items).images
    assert images is not None
    assert images.shape == (count, 6, 6, 3)
    assert handed == [BLOCK_IMAGES, BLOCK_IMAGES, 8]


def test_other_pixels_than_those_of_pillow_are_refused() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    wrong = decoder(frames, 4, 4, lambda images: halve(images) + 1)
    with pytest.raises(ValueError, match=r"torch and Pillow .* must halve an image to the same pixels, got different"):
        wrong([Item("a", (0,))])
