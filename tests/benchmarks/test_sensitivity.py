"""The sensitivity curves: damage that is what it says, features that are computed once, and a verdict."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import sensitivity
from benchmarks.damage import jpeg, noisy, read_grids, read_photos
from benchmarks.inceptions import random_pictures
from benchmarks.kept import Kept
from benchmarks.sensitivity import Curve, counts
from ddpm.metrics.features import build_extractor

PICTURES = random_pictures(24, side=16)


def zip_of(pictures: np.ndarray, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(pictures):
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "PNG")
            archive.writestr(f"faces/{number:03}.png", content.getvalue())
    return path


def mean_change(changed: np.ndarray) -> float:
    return float(np.abs(changed.astype(int) - PICTURES).mean())


def test_photographs_are_drawn_once_each_in_a_fixed_order(tmp_path):
    path = zip_of(PICTURES, tmp_path / "a.zip")
    photos = read_photos(path, 20)
    assert len({photo.tobytes() for photo in photos}) == 20
    assert {photo.tobytes() for photo in photos} <= {picture.tobytes() for picture in PICTURES}
    assert not np.array_equal(photos, PICTURES[:20])
    np.testing.assert_array_equal(photos[:5], read_photos(path, 5))
    with pytest.raises(ValueError, match="two halves, 26 photographs, got 24"):
        read_photos(path, 26)


def test_noise_has_its_strength_and_is_the_same_at_all_of_them():
    gray = np.full((50, 16, 16, 3), 128, np.uint8)
    weak, strong = (noisy(gray, sigma).astype(float) - 128 for sigma in (8, 16))
    assert weak.std() == pytest.approx(8, rel=0.02)
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(noisy(gray, 8)[:3], noisy(gray[:3], 8))
    np.testing.assert_array_equal(noisy(PICTURES, 0), PICTURES)


def test_lower_quality_changes_more_also_where_the_photograph_is_a_jpeg_of_that_quality():
    changes = [mean_change(jpeg(PICTURES, quality)) for quality in (None, 95, 75, 25)]
    assert changes[0] == 0
    assert changes == sorted(set(changes))
    stored = np.stack([np.asarray(Image.open(_jpeg(picture))) for picture in PICTURES])
    again = np.stack([np.asarray(Image.open(_jpeg(picture))) for picture in stored])
    moved = np.abs(jpeg(stored, 75).astype(int) - stored).mean()
    assert moved > 1.5 * np.abs(again.astype(int) - stored).mean()


def _jpeg(picture: np.ndarray) -> io.BytesIO:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=75, subsampling="4:2:0")
    return content


def test_faces_come_out_of_a_grid_in_reading_order(tmp_path):
    grid = np.full((651, 651, 3), 255, np.uint8)
    for number in range(100):
        row, column = 1 + 65 * (number // 10), 1 + 65 * (number % 10)
        grid[row : row + 64, column : column + 64] = number * 2
    Image.fromarray(grid).save(tmp_path / "1.jpg", quality=100)
    faces = read_grids(tmp_path)
    assert faces.shape == (100, 64, 64, 3)
    np.testing.assert_allclose(faces.mean(axis=(1, 2, 3)), 2 * np.arange(100), atol=4)
    Image.fromarray(grid[1:]).save(tmp_path / "2.jpg")
    with pytest.raises(ValueError, match="651x651"):
        read_grids(tmp_path)


def test_features_are_computed_once_and_only_where_they_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.kept.PART_IMAGES", 10)

    def means(images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(1, 2)).astype(np.float32)

    first = Kept(means, "means", tmp_path)
    np.testing.assert_array_equal(first.rows(PICTURES, "some"), means(PICTURES))
    assert first.computed == 24
    next(tmp_path.glob("*.npy")).unlink()
    again = Kept(means, "means", tmp_path)
    np.testing.assert_array_equal(again.rows(PICTURES, "some"), means(PICTURES))
    assert again.computed in (4, 10)
    other = Kept(means, "other weights", tmp_path)
    other.rows(PICTURES, "some")
    assert other.computed == 24


def test_a_curve_is_judged_and_counts_end_at_about_250():
    assert Curve("a", ("0", "1", "2"), (0.1, 0.2, 0.3)).monotone
    assert not Curve("a", ("0", "1", "2"), (0.1, 0.3, 0.3)).monotone
    assert counts(5000) == [5000, 2500, 1250, 625, 312]


def run(tmp_path: Path, monkeypatch, *more: str):
    pixels = build_extractor("pixels", weights=None, download=False, device="cpu")
    monkeypatch.setattr(sensitivity, "build_extractor", lambda *_, **__: pixels)
    monkeypatch.setattr("benchmarks.sensitivity.FEWEST", 4)
    monkeypatch.setattr("benchmarks.sensitivity.NOISE", (0, 64, 128))
    monkeypatch.setattr("benchmarks.sensitivity.QUALITIES", (None, 10))
    path = zip_of(random_pictures(24, side=16, seed=1), tmp_path / "a.zip")
    words = ["--images", path, "--weights", "none", "--count", 12, "--damaged", 6, "--device", "cpu"]
    words += ["--work", tmp_path / "work", "--out", tmp_path / "out", "--figure", tmp_path / "a.png"]
    return CliRunner().invoke(sensitivity.main, [str(word) for word in [*words, *more]])


def test_the_command_writes_numbers_and_a_picture_and_its_exit_code_is_the_verdict(tmp_path, monkeypatch):
    result = run(tmp_path, monkeypatch)
    (file,) = (tmp_path / "out").glob("*.json")
    found = json.loads(file.read_text())
    assert set(found["curves"]) == {"Gaussian noise", "JPEG", "fewer images"}
    assert found["curves"]["Gaussian noise"]["128"] > found["curves"]["Gaussian noise"]["0"]
    assert found["computed_images"] == 24 + 3 * 6
    assert found["anchors"]["grids"] is None
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["images_sha256"] == found["settings"]["images_sha256"]
    assert result.exit_code == (0 if all(found["monotone"].values()) else 1)
    run(tmp_path, monkeypatch)
    assert json.loads(file.read_text())["computed_images"] == 0


def test_a_distance_that_falls_with_the_damage_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "noisy", lambda images, strength: images)
    result = run(tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert "falls somewhere in: Gaussian noise" in result.output
