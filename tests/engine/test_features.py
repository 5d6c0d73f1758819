"""Features of many images: one order for every storage, kept over an interruption, computed once."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from ddpm.engine import features as module
from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import distance, require_comparable
from ddpm.engine.features import CPU_BLOCK, feature_moments, image_set, kept_features, one_thread, stored_features
from ddpm.engine.reference import require_enough
from ddpm.metrics.features import Extractor, build_extractor, network_features
from ddpm.metrics.moments import moments
from ddpm.metrics.record import Protocol
from ddpm.metrics.statistics import Statistics
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256

CPU = torch.device("cpu")
TEAM = alone(CPU)
IMAGES = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), np.uint8)
SET = image_set(IMAGES)
SHUFFLED = np.random.default_rng(1).permutation(600)
PROTOCOL = Protocol("own", "uint8 npy", "", "")


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


def test_the_order_depends_on_pixels_alone():
    other = image_set(IMAGES[SHUFFLED])
    assert other.sha256 == SET.sha256
    assert (IMAGES[SHUFFLED][other.order] == IMAGES[SET.order]).all()
    assert sorted(SET.order.tolist()) == list(range(600))
    assert not (np.sort(SET.order) == SET.order).all()
    changed = IMAGES.copy()
    changed[5, 0, 0, 0] ^= 1
    assert image_set(changed).sha256 != SET.sha256
    assert image_set(IMAGES.reshape(600, 4, 16, 1)).sha256 != SET.sha256
    with pytest.raises(ValueError, match="images must be uint8"):
        image_set(IMAGES.astype(np.float32))


@pytest.mark.parametrize("batch", [1, 7, 256, 600, 1000])
def test_rows_and_moments_are_those_of_all_images_at_once(batch, pixels, tmp_path):
    rows = stored_features(SET, pixels, batch, tmp_path, "some", TEAM, silent)
    features = pixels.extract(IMAGES[SET.order])
    assert rows.dtype == np.float32
    assert (rows == features).all()
    found, whole = feature_moments(rows), moments([features])
    assert found.num_images == whole.num_images == 600
    assert found.mean.tobytes() == whole.mean.tobytes()
    assert found.scatter.tobytes() == whole.scatter.tobytes()


@pytest.fixture
def network():
    """A convolutional extractor, whose kernels may round otherwise for another number of images."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 96, 9, stride=8), nn.ReLU(), nn.Conv2d(96, 768, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net = nn.Sequential(*layers).requires_grad_(False)
    return Extractor("fid_768", CANONICAL_SHA256, network_features(net, "pytorch", CPU))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_networks_rows_do_not_depend_on_batch_or_order(batch, network, tmp_path):
    color = np.repeat(IMAGES[:50], 3, axis=3)
    whole = stored_features(image_set(color), network, 50, tmp_path, "whole", TEAM, silent)
    mixed = color[np.random.default_rng(batch).permutation(50)]
    rows = stored_features(image_set(mixed), network, batch, tmp_path, f"{batch}", TEAM, silent)
    assert rows.tobytes() == whole.tobytes()


def counted(calls, sha256, scale=1.0, stop_at=None):
    def extract(images):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(len(images))
        return np.repeat(images.reshape(len(images), -1), 12, axis=1).astype(np.float32) * np.float32(scale)

    return Extractor("fid_768", sha256, extract)


EXPECTED = np.repeat(IMAGES[SET.order].reshape(600, -1), 12, axis=1)


def test_an_interrupted_extraction_goes_on(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        stored_features(SET, counted(calls, CANONICAL_SHA256, stop_at=20), 160, tmp_path, "a", TEAM, silent)
    told = []
    rows = stored_features(SET, counted(calls, CANONICAL_SHA256), 160, tmp_path, "a", TEAM, told.append)
    assert set(calls) == {CPU_BLOCK}
    assert told == [320, 160, 120]
    assert (rows == EXPECTED).all()


def test_rows_of_other_weights_are_never_taken(tmp_path):
    calls = []
    first = stored_features(SET, counted(calls, CANONICAL_SHA256), 600, tmp_path, "a", TEAM, silent)
    second = stored_features(SET, counted(calls, PARTIAL_SHA256, 2.0), 600, tmp_path, "a", TEAM, silent)
    assert (second == 2 * first).all()


def test_kept_features_are_computed_once_for_the_same_images_code_and_weights(tmp_path, monkeypatch):
    calls, told = [], []

    def kept(images, sha256=CANONICAL_SHA256, scale=1.0):
        before = len(calls)
        rows = kept_features(image_set(images), counted(calls, sha256, scale), 100, tmp_path, TEAM, told.append)
        return rows, len(calls) > before

    first, computed = kept(IMAGES)
    assert computed
    assert (first == EXPECTED).all()
    told.clear()
    again, computed = kept(IMAGES[SHUFFLED])
    assert not computed
    assert told == [600]
    assert (again == first).all()
    other, computed = kept(IMAGES, PARTIAL_SHA256, 2.0)
    assert computed
    assert (other == 2 * first).all()
    assert kept(255 - IMAGES)[1]
    code = tmp_path / "changed.py"
    code.write_text("")
    monkeypatch.setattr(module.images, "__file__", str(code))
    assert kept(IMAGES)[1]
    monkeypatch.setattr(torch, "__version__", "3.0")
    assert kept(IMAGES)[1]
    assert {path.suffix for path in (tmp_path / "work" / "features").iterdir()} == {".npy", ".lock"}


def test_kept_features_go_on_after_an_interruption(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt):
        kept_features(SET, counted(calls, CANONICAL_SHA256, stop_at=20), 160, tmp_path, TEAM, silent)
    told = []
    rows = kept_features(SET, counted(calls, CANONICAL_SHA256), 160, tmp_path, TEAM, told.append)
    assert told == [320, 160, 120]
    assert (rows == EXPECTED).all()


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_bit_of_a_distance(num_threads):
    generator = np.random.default_rng(1)
    ours, theirs = (generator.normal(size=(300, 256)).astype(np.float32) + shift for shift in (0.0, 0.1))
    extractor = build_extractor("pixels", weights=None, download=False, device=CPU)
    reference = statistics_of(feature_moments(theirs), IDENTITY)
    with one_thread():
        expected = distance(ours, reference, extractor, PROTOCOL)["value"]
    with threadpool_limits(limits=num_threads, user_api="blas"):
        assert distance(ours, reference, extractor, PROTOCOL)["value"] == expected


@pytest.mark.parametrize(
    ("shape", "num_held_out", "message"),
    [
        ((4, 16, 16, 1), None, "samples must be 8x8 like the reference, got 16x16"),
        ((1, 8, 8, 1), None, "evaluate: frechet_pixels needs at least 2 samples, got 1; give more"),
        ((4, 8, 8, 1), 1, "evaluate: frechet_pixels needs at least 2 held-out images, got 1; give more"),
    ],
)
def test_images_that_cannot_be_compared_are_refused_before_extraction(shape, num_held_out, message, pixels):
    reference = statistics_of(moments([pixels.extract(IMAGES)]), IDENTITY)
    require_comparable((4, 8, 8, 1), None, reference, pixels)
    require_comparable((4, 8, 8, 1), 4, reference, pixels)
    with pytest.raises(ValueError, match=message):
        require_comparable(shape, num_held_out, reference, pixels)


def test_a_reference_needs_two_images():
    with pytest.raises(ValueError, match=r"reference\.split valid must hold at least 2 images, got 1; choose another"):
        require_enough(IMAGES[:1], "valid")
