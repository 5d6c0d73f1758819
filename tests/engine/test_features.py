"""Features of many images: those of each batch, kept over an interruption, and moments of the same bytes."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import distance, image_sets
from ddpm.engine.features import feature_moments, one_thread, stored_features
from ddpm.engine.reference import require_enough
from ddpm.metrics.features import Extractor, build_extractor
from ddpm.metrics.moments import moments
from ddpm.metrics.statistics import Statistics
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256

CPU = torch.device("cpu")
TEAM = alone(CPU)
IMAGES = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), np.uint8)


def silent(count):
    pass


@pytest.fixture
def pixels():
    return build_extractor("pixels", weights=None, download=False, device=CPU)


def statistics_of(found, identity):
    return Statistics(found.mean, found.covariance(), found.num_images, identity)


IDENTITY = {
    "features": "pixels",
    "family": "pixels",
    "weights_sha256": None,
    "data_sha256": "",
    "crop": "none",
    "size": 8,
    "split": "train",
}


@pytest.mark.parametrize("batch", [1, 7, 256, 600, 1000])
def test_rows_and_moments_are_those_of_all_images_at_once(batch, pixels, tmp_path):
    rows = stored_features(IMAGES, pixels, batch, tmp_path, "some", TEAM, silent)
    features = pixels.extract(IMAGES)
    assert rows.dtype == np.float32
    assert (rows == features).all()
    found, whole = feature_moments(rows), moments([features])
    assert found.num_images == whole.num_images == 600
    assert found.mean.tobytes() == whole.mean.tobytes()
    assert found.scatter.tobytes() == whole.scatter.tobytes()


def counted(calls, sha256, scale=1.0, dim=64, stop_at=None):
    def extract(images):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(len(images))
        return images.reshape(len(images), -1).astype(np.float32) * np.float32(scale)

    return Extractor("fid_768", "fid_768", dim, "pytorch", sha256, extract)


def test_an_interrupted_extraction_goes_on(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        stored_features(IMAGES, counted(calls, CANONICAL_SHA256, stop_at=2), 250, tmp_path, "a", TEAM, silent)
    told = []
    rows = stored_features(IMAGES, counted(calls, CANONICAL_SHA256), 250, tmp_path, "a", TEAM, told.append)
    assert calls == [250, 250, 100]
    assert told == [500, 100]
    assert (rows == IMAGES.reshape(600, -1)).all()


def test_rows_of_other_weights_or_other_images_are_never_taken(tmp_path):
    calls = []
    first = stored_features(IMAGES, counted(calls, CANONICAL_SHA256), 600, tmp_path, "a", TEAM, silent)
    second = stored_features(IMAGES, counted(calls, PARTIAL_SHA256, 2.0), 600, tmp_path, "a", TEAM, silent)
    third = stored_features(IMAGES[::-1], counted(calls, CANONICAL_SHA256), 600, tmp_path, "b", TEAM, silent)
    assert len(calls) == 3
    assert (second == 2 * first).all()
    assert (third == first[::-1]).all()


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_bit_of_a_distance(num_threads):
    generator = np.random.default_rng(1)
    ours, theirs = (generator.normal(size=(300, 256)).astype(np.float32) + shift for shift in (0.0, 0.1))
    extractor = build_extractor("pixels", weights=None, download=False, device=CPU)
    reference = statistics_of(feature_moments(theirs), IDENTITY)
    with one_thread():
        expected = distance(ours, reference, extractor)["value"]
    with threadpool_limits(limits=num_threads, user_api="blas"):
        assert distance(ours, reference, extractor)["value"] == expected


def test_what_is_compared_with_the_reference(pixels):
    reference = statistics_of(moments([pixels.extract(IMAGES)]), IDENTITY)
    assert list(image_sets(IMAGES, None, reference, pixels)) == ["frechet_pixels"]
    assert list(image_sets(IMAGES, IMAGES[:9], reference, pixels)) == ["frechet_pixels", "frechet_pixels_floor"]


@pytest.mark.parametrize(
    ("samples", "held_out", "message"),
    [
        (np.zeros((4, 16, 16, 1), np.uint8), None, "samples must be 8x8 like the reference, got 16x16"),
        (IMAGES[:1], None, "evaluate: frechet_pixels needs at least 2 images, got 1; give more images"),
        (IMAGES, IMAGES[:1], "evaluate: frechet_pixels_floor needs at least 2 images, got 1; give more images"),
    ],
)
def test_images_that_cannot_be_compared_are_refused_before_extraction(samples, held_out, message, pixels):
    reference = statistics_of(moments([pixels.extract(IMAGES)]), IDENTITY)
    with pytest.raises(ValueError, match=message):
        image_sets(samples, held_out, reference, pixels)


def test_a_reference_needs_two_images():
    with pytest.raises(ValueError, match=r"reference\.split valid must hold at least 2 images, got 1; choose another"):
        require_enough(IMAGES[:1], "valid")
