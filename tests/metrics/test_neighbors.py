"""The k nearest rows in chunks against all distances written out."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from ddpm.metrics import neighbors as module
from ddpm.metrics.neighbors import k_nearest


def normal(num_images: int, seed: int, dtype: type = np.float64) -> np.ndarray:
    return (100 + np.random.default_rng(seed).normal(size=(num_images, 6))).astype(dtype)


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [2, 7, 64, 1000])
def test_equals_all_distances_whatever_the_chunks(dtype, size):
    rows, others = normal(40, 0, dtype), normal(150, 1, dtype)
    every = cdist(rows.astype(float), others.astype(float))
    distances, numbers = k_nearest(rows, chunks(others, size), 3)
    assert (numbers == np.argsort(every, axis=1)[:, :3]).all()
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :3], rtol=1e-12)


def test_a_copy_is_at_distance_zero_and_of_equal_ones_the_first_comes_first():
    others = normal(30, 2, np.float32)
    others[[4, 11, 29]] = others[20]
    distances, numbers = k_nearest(others[20:21], chunks(others, 8), 5)
    assert numbers[0, :4].tolist() == [4, 11, 20, 29]
    assert distances[0, :4].tolist() == [0, 0, 0, 0]
    assert distances[0, 4] > 0


def test_rounding_of_products_does_not_choose(monkeypatch):
    """Rows far from zero, neighbors that differ in the last bits of float32 products."""
    others = (1e4 + 1e-2 * np.random.default_rng(3).normal(size=(50, 6))).astype(np.float32)
    monkeypatch.setattr(module, "SPARE", 8)
    distances, numbers = k_nearest(others[:9], [others], 1)
    assert numbers[:, 0].tolist() == list(range(9))
    assert not distances.any()


def test_refused():
    rows = normal(4, 0)
    with pytest.raises(ValueError, match="neighbors must be at least 1, got 0"):
        k_nearest(rows, [rows], 0)
    with pytest.raises(ValueError, match="neighbors must be at most the 4 rows that there are, got 5"):
        k_nearest(rows, [rows], 5)
    with pytest.raises(ValueError, match="agree in dim"):
        k_nearest(rows, [rows[:, :3]], 1)
