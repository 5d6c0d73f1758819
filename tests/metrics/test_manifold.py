"""Precision, recall and nearest neighbors against torch-fidelity and against all distances written out."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import prc_features_to_metric

from ddpm.metrics import manifold
from ddpm.metrics.manifold import nearest, precision_recall


def normal(num_images: int, dim: int, seed: int, scale: float = 1.0, dtype: type = np.float64) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=(num_images, dim))).astype(dtype)


@pytest.fixture(params=[7, 64, 2048])
def tile_rows(request, monkeypatch):
    """Tiles much smaller than, near to and larger than the sets."""
    monkeypatch.setattr(manifold, "TILE_ROWS", request.param)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("num_1", "num_2", "neighbors"), [(200, 150, 3), (64, 130, 1), (90, 91, 5)])
def test_equals_torch_fidelity(num_1, num_2, neighbors, dtype, tile_rows):
    samples, reference = normal(num_1, 6, 0, 1.3, dtype) + dtype(2), normal(num_2, 6, 1, 1.0, dtype) + dtype(2)
    theirs = prc_features_to_metric(
        torch.from_numpy(samples),
        torch.from_numpy(reference),
        prc_neighborhood=neighbors,
        prc_batch_size=50,
        save_cpu_ram=True,
        verbose=False,
    )
    found = precision_recall(samples, reference, neighbors=neighbors)
    assert min(found) > 0.1
    assert max(found) < 1.0
    assert found == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)  # theirs are float32 means


def test_equals_torch_fidelity_at_the_width_of_inception():
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(20, 2048)).astype(np.float32)
    samples, reference = normal(700, 20, 4, 0.9, np.float32) @ mix + 1, normal(900, 20, 5, 1.0, np.float32) @ mix + 1
    theirs = prc_features_to_metric(torch.from_numpy(samples), torch.from_numpy(reference), verbose=False)
    found = precision_recall(samples, reference)
    assert found == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_equals_all_distances_written_out(tile_rows):
    samples, reference = normal(80, 4, 6, 1.5), normal(70, 4, 7)
    radius_1 = np.sort(cdist(samples, samples), axis=1)[:, 3]
    radius_2 = np.sort(cdist(reference, reference), axis=1)[:, 3]
    across = cdist(samples, reference)
    exact = (across <= radius_2).any(axis=1).mean(), (across <= radius_1[:, None]).any(axis=0).mean()
    assert precision_recall(samples, reference) == exact


def test_same_far_and_collapsed():
    reference = normal(100, 5, 8)
    assert precision_recall(reference, reference) == (1.0, 1.0)
    assert precision_recall(reference + 1e3, reference) == (0.0, 0.0)
    precision, recall = precision_recall(reference[:1] + normal(100, 5, 9, 1e-3), reference)
    assert precision == 1.0
    assert recall <= 0.01


def test_roles_change_with_the_sets():
    samples, reference = normal(80, 4, 6, 2.0), normal(70, 4, 7)
    precision, recall = precision_recall(samples, reference)
    assert precision != recall
    assert precision_recall(reference, samples) == (recall, precision)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_equals_all_distances_written_out(dtype, tile_rows):
    rows, among = normal(60, 5, 0, 1.0, dtype), normal(130, 5, 1, 1.0, dtype)
    across = cdist(rows, among)
    distances, index = nearest(rows, among)
    np.testing.assert_array_equal(index, across.argmin(axis=1))
    np.testing.assert_allclose(distances, across.min(axis=1), rtol=1e-12)


def test_a_copy_is_at_distance_0_also_far_from_the_origin(tile_rows):
    among = normal(100, 300, 2, 1.0, np.float32) + np.float32(1000)
    distances, index = nearest(among[[5, 99, 0]], among)
    np.testing.assert_array_equal(distances, 0.0)
    np.testing.assert_array_equal(index, [5, 99, 0])


@pytest.mark.parametrize(
    ("samples", "reference", "neighbors", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), 3, "samples must hold at least 4 image"),
        (np.ones((4, 2)), np.ones((3, 2)), 3, "reference must hold at least 4 image"),
        (np.ones((4, 2)), np.ones((4, 2)), 0, "neighbors must be at least 1, got 0"),
        (np.ones((4, 2)), np.ones((4, 5)), 3, "agree in dim, got samples 2 and reference 5"),
        (np.full((4, 2), np.nan), np.ones((4, 2)), 3, "samples must be finite"),
    ],
)
def test_refused(samples, reference, neighbors, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(samples, reference, neighbors=neighbors)


def test_nearest_refuses():
    with pytest.raises(ValueError, match="among must hold at least 1"):
        nearest(np.ones((2, 3)), np.ones((0, 3)))
    with pytest.raises(ValueError, match="agree in dim"):
        nearest(np.ones((2, 3)), np.ones((2, 4)))
