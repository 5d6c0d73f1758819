"""Nearest training images and the check for copies: copies are found, and what is shown is said."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm.data.store import images_file, labels_file, read_manifest
from ddpm.drawing.neighbors import EDGE, distance_histogram, neighbor_rows
from ddpm.engine import neighbors as engine
from ddpm.engine.features import image_set
from ddpm.engine.neighbors import Space, feature_space, nearest_training, pixel_space
from ddpm.engine.reference import identity_of, write_reference
from ddpm.figures import neighbors
from ddpm.figures.neighbors import Options, findings_of, some_images
from ddpm.metrics.features import Extractor
from ddpm.metrics.weights import CANONICAL_SHA256

CPU = torch.device("cpu")
FEW = Options(rows=4, neighbors=2)


def silent(things, what):
    return things


def test_by_pixels_a_copy_is_found_at_distance_zero(material):
    train = material().train.images
    shifted = np.minimum(train[5], 250) + np.uint8(3)
    found = nearest_training(pixel_space(train), np.stack([train[7], shifted]), 3)
    assert found.numbers[:, 0].tolist() == [7, 5]
    assert found.distances[0, 0] == 0
    difference = shifted.astype(float) - train[5]
    assert found.distances[1, 0] == pytest.approx(np.sqrt((difference**2).mean()))


def test_chunks_do_not_change_what_is_near(material, monkeypatch):
    train, asked = material().train.images, material().samples
    whole = nearest_training(pixel_space(train), np.array(asked), 3)
    monkeypatch.setattr(engine, "CHUNK_BYTES", 3 * 4 * 64)
    parts = nearest_training(pixel_space(train), np.array(asked), 3)
    assert (parts.numbers == whole.numbers).all()
    assert (parts.distances == whole.distances).all()


@pytest.fixture
def featured(material, monkeypatch):
    """A material whose reference has features with a network: the mean of each half of an image, many times over."""
    given = material()

    def extract(images):
        halves = images.reshape(len(images), 2, -1).mean(axis=2)
        return np.tile(halves, 384).astype(np.float32)

    extractor = Extractor("fid_768", CANONICAL_SHA256, extract)
    train = given.train.images
    rows = extract(np.asarray(train)[image_set(train).order])
    write_reference(
        given.places.statistics, rows, 768, identity_of(read_manifest(given.places.data), "train", extractor)
    )
    monkeypatch.setattr(engine, "build_extractor", lambda *_, **__: extractor)
    return given


def space_of(given):
    manifest = read_manifest(given.places.data)
    return feature_space(given.train.images, manifest, given.places.statistics, given.statistics, CPU, silent)


def test_by_features_rows_lead_back_to_their_images(featured):
    space, train = space_of(featured), np.asarray(featured.train.images)
    assert isinstance(space, Space)
    turned = train[:6, :, ::-1]  # the same features, other pixels
    found = nearest_training(space, turned, 1)
    assert found.numbers[:, 0].tolist() == list(range(6))
    assert found.distances.max() < 1e-3
    assert (
        neighbors.draw(featured, FEW).height > 1.8 * neighbors.draw(featured, Options(4, 2, features="pixels")).height
    )


def test_without_the_network_the_picture_is_by_pixels_and_says_so(featured, monkeypatch):
    def none(*_, **__):
        raise ValueError("no weights")

    monkeypatch.setattr(engine, "build_extractor", none)
    assert space_of(featured) == "the network of the reference's fid_768 features was not there"
    said = neighbors.draw(featured, FEW)
    assert said != neighbors.draw(featured, Options(4, 2, features="pixels"))
    with pytest.raises(
        ValueError, match=r"--features reference: the network of .* was not there; use --features pixels"
    ):
        neighbors.draw(featured, Options(4, 2, features="reference"))


def test_features_of_other_images_are_not_used(featured):
    path = featured.places.data / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["sha256"] = "of others"
    path.write_text(json.dumps(manifest))
    assert space_of(featured) == "the reference's fid_768 features are not of the training images"


def test_as_many_held_out_images_as_samples_are_compared(material):
    for options, count in ((Options(), 10), (Options(rows=2, images=6), 6)):
        samples, held_out = some_images(material(), options)
        assert len(samples) == len(held_out) == count
    every = np.asarray(material().held_out.images).reshape(10, -1).tolist()
    assert all(image.ravel().tolist() in every for image in held_out)


def test_the_closest_samples_come_first(material):
    """Sample i of the tiny material is training image i, lighter by i."""
    tiles = {}
    for show in ("closest", "first"):
        picture = neighbors.draw(material(), Options(rows=3, neighbors=1, show=show))
        assert picture.width == 1000
        tiles[show] = picture
    assert tiles["closest"] != tiles["first"]


def test_rows_hold_the_images_at_their_places():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 6, 3), dtype=np.uint8)
    picture = neighbor_rows(images[:, 0], images[:, 1:], ["a", "b"], [["1", "2"]] * 2, 5, "Title", "note")
    sheet = np.asarray(picture)
    for image in images.reshape(-1, 4, 6, 3):
        large = image.repeat(5, axis=0).repeat(5, axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(sheet, large.shape)[:, :, 0]
        tops, lefts = np.nonzero((windows[:, :, ::7, ::7] == large[::7, ::7]).all(axis=(2, 3, 4)))
        assert len(tops) == 1
        assert (sheet[tops[0] : tops[0] + 20, lefts[0] : lefts[0] + 30] == large).all()
    assert EDGE > 0
    with pytest.raises(ValueError, match="neighbors must be rows of images like"):
        neighbor_rows(images[:, 0], images[:, 1:, :3], ["a", "b"], [["1", "2"]] * 2, 5, "Title", "note")


def test_findings_tell_copies_from_new_images():
    held_out = np.linspace(10, 20, 100)
    assert "with probability 1.00" in findings_of(np.zeros(100), held_out)
    assert "every one of them 100.0% (new images: 1.0%)" in findings_of(np.zeros(100), held_out)
    same = findings_of(held_out, held_out)
    assert "with probability 0.50" in same
    assert "lie 5.0% of the samples (new images: 5%)" in same
    assert findings_of(held_out, np.zeros(0)).startswith("No images were held out")


def test_without_held_out_images_only_samples_are_drawn(material):
    given = material()
    for file in (images_file("valid"), labels_file("valid")):
        np.save(given.places.data / file, np.load(given.places.data / file)[:0])
    assert isinstance(neighbors.draw(given, FEW), Image.Image)
    assert distance_histogram(np.zeros(3), np.zeros(0), "distance", "Title", "").width == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(rows=11), "--rows must be at most the 10 compared samples, got 11"),
        (Options(rows=2, neighbors=21), "--neighbors must be at most the 20 training images, got 21"),
    ],
)
def test_refused(material, options, message):
    with pytest.raises(ValueError, match=message):
        neighbors.draw(material(), options)


def test_samples_of_another_shape_are_refused(material):
    given = material()
    with given.places.samples.open("wb") as file:
        np.save(file, np.zeros((12, 16, 16, 1), np.uint8))
    with pytest.raises(ValueError, match=r"samples: must hold images of \(8, 8, 1\) like those of .*--data"):
        neighbors.draw(given, FEW)
