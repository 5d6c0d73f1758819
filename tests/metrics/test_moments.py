"""Streamed moments: equal to numpy's on the whole, and to themselves however the rows arrive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm.metrics.moments import BLOCK_IMAGES, Moments, moments


def rows(num_images: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num_images, dim)) @ rng.normal(size=(dim, dim)) + 5.0).astype(np.float32)


@pytest.mark.parametrize("num_images", [2, 255, 256, 257, 2000])
def test_moments_equal_numpy_on_the_whole(num_images):
    features = rows(num_images, 12)
    found = moments([features])
    exact = features.astype(np.float64)
    assert found.num_images == num_images
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-12)
    scale = np.abs(np.cov(exact, rowvar=False)).max()
    np.testing.assert_allclose(found.covariance() / scale, np.cov(exact, rowvar=False) / scale, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_batch_sizes_cannot_change_a_bit(sizes):
    features = rows(max(2, sum(sizes)), 5)
    batches = np.split(features, np.cumsum(sizes))
    whole, streamed = moments([features]), moments(batches)
    assert streamed.num_images == whole.num_images
    assert streamed.mean.tobytes() == whole.mean.tobytes()
    assert streamed.scatter.tobytes() == whole.scatter.tobytes()


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(6)))
def test_order_of_merging_does_not_matter(order):
    features = rows(900, 6)
    parts = np.split(features, [1, 3, 200, 456, 700])
    merged = Moments.of_block(parts[order[0]])
    for index in order[1:]:
        merged = merged.merge(Moments.of_block(parts[index]))
    whole = Moments.of_block(features)
    assert merged.num_images == 900
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=0, atol=1e-12 * np.abs(whole.scatter).max())


@pytest.mark.parametrize("taken", [slice(0, 1), slice(100, 350), slice(3, None, 10), slice(0, 899)])
def test_without_gives_the_moments_of_the_rest(taken):
    features = rows(900, 6)
    rest = np.delete(features, np.arange(900)[taken], axis=0)
    found = moments([features]).without(Moments.of_block(features[taken]))
    exact = Moments.of_block(rest)
    assert found.num_images == len(rest)
    np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-12)
    # relative to the whole, whose rounding stays when almost all of it goes
    scale = moments([features]).scatter.max()
    np.testing.assert_allclose(found.scatter, exact.scatter, rtol=0, atol=1e-12 * scale)


def test_without_undoes_merge():
    first, second = (Moments.of_block(part) for part in np.split(rows(500, 4), [200]))
    back = first.merge(second).without(second)
    np.testing.assert_allclose(back.mean, first.mean, rtol=1e-12)
    np.testing.assert_allclose(back.scatter, first.scatter, rtol=0, atol=1e-12 * np.abs(first.scatter).max())


def test_a_large_offset_does_not_eat_the_covariance():
    features = np.random.default_rng(0).normal(size=(3 * BLOCK_IMAGES, 3)) + 1e6
    np.testing.assert_allclose(moments([features]).covariance(), np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "at least 2 images, got 0"),
        ([np.ones((1, 3))], "at least 2 images, got 1"),
        ([np.ones((2, 3)), np.full((2, 3), np.nan)], "must be finite, got 6"),
        ([np.ones((2, 3)), np.ones((2, 4))], "must agree in dim"),
        ([np.ones((BLOCK_IMAGES, 3)), np.ones((2, 4))], "must agree in dim"),
        ([np.ones(3)], r"must have shape \(images, dim\)"),
    ],
)
def test_refused(batches, message):
    with pytest.raises(ValueError, match=message):
        moments(batches)


def test_covariance_merge_and_without_refuse():
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        Moments.of_block(np.ones((1, 3))).covariance()
    with pytest.raises(ValueError, match="agree in dim, got 3 and 4"):
        Moments.of_block(np.ones((2, 3))).merge(Moments.of_block(np.ones((2, 4))))
    with pytest.raises(ValueError, match="agree in dim, got 3 and 4"):
        Moments.of_block(np.ones((3, 3))).without(Moments.of_block(np.ones((2, 4))))
    with pytest.raises(ValueError, match="at least 1 image must be left, got 2 taken out of 2"):
        Moments.of_block(np.ones((2, 3))).without(Moments.of_block(np.ones((2, 3))))
