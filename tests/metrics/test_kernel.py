"""The kernel distance: torch-fidelity's numbers, the sum over pairs, no bias, and intervals that cover."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ddpm.metrics import kernel
from ddpm.metrics.kernel import kernel_distance


def normal(num_images: int, dim: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_images, dim)) + shift


@pytest.mark.parametrize(("num_1", "num_2", "subset", "seed"), [(300, 500, 100, 2020), (64, 64, 64, 7), (90, 80, 2, 1)])
def test_equals_torch_fidelity(num_1, num_2, subset, seed):
    samples, reference = normal(num_1, 32, 0, 0.3), normal(num_2, 32, 1)
    found = kernel_distance(samples, reference, num_subsets=12, subset_images=subset, seed=seed)
    theirs = kid_features_to_metric(
        torch.from_numpy(samples),
        torch.from_numpy(reference),
        kid_subsets=12,
        kid_subset_size=subset,
        rng_seed=seed,
        verbose=False,
    )
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-10)


def test_default_seed_is_that_of_torch_fidelity():
    samples, reference = normal(50, 8, 0, 0.3), normal(50, 8, 1)
    theirs = kid_features_to_metric(
        torch.from_numpy(samples), torch.from_numpy(reference), kid_subsets=3, kid_subset_size=20, verbose=False
    )
    found = kernel_distance(samples, reference, num_subsets=3, subset_images=20)
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)


def test_equals_the_sum_over_pairs():
    x, y = normal(6, 3, 2), normal(6, 3, 3, 1.0)
    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum((u[i] @ u[j] / 3 + 1) ** 3 for u in (x, y) for i, j in pairs if i != j) / 30
    across = sum((x[i] @ y[j] / 3 + 1) ** 3 for i, j in pairs) / 36
    found = kernel_distance(x, y, num_subsets=2, subset_images=6)
    assert found.mean == pytest.approx(within - 2 * across, rel=1e-12)
    assert found.std < 1e-12  # a subset of all images is all images


def test_blocks_of_rows_do_not_matter(monkeypatch):
    samples, reference = normal(70, 5, 0), normal(70, 5, 1, 0.5)
    whole = kernel_distance(samples, reference, num_subsets=3, subset_images=33)
    monkeypatch.setattr(kernel, "BLOCK_ROWS", 7)
    parts = kernel_distance(samples, reference, num_subsets=3, subset_images=33)
    assert parts.mean == pytest.approx(whole.mean, rel=1e-12)


def test_no_bias_at_few_images():
    """The mean over many small draws of one distribution is 0 within its own error."""
    found = kernel_distance(normal(8000, 4, 4), normal(8000, 4, 5), num_subsets=1, subset_images=20)
    low, high = found.interval
    assert found.num_blocks == 400
    blocks_mean = np.mean(
        [
            kernel_distance(normal(20, 4, 10 + i), normal(20, 4, 5000 + i), num_subsets=1, subset_images=20).mean
            for i in range(400)
        ]
    )
    assert abs(blocks_mean) < high - low


def true_distance(dim: int, shift: float) -> float:
    """MMD^2 of N(shift, I) and N(0, I): the kernel's mean over independent x and y, by Gaussian moments."""

    def mean_kernel(x: np.ndarray, y: np.ndarray) -> float:
        once = x @ y
        twice = dim + x @ x + y @ y + once**2
        thrice = once**3 + 3 * once * (x @ x + y @ y + dim + 2)
        return thrice / dim**3 + 3 * twice / dim**2 + 3 * once / dim + 1

    moved, still = np.full(dim, shift), np.zeros(dim)
    return mean_kernel(moved, moved) + mean_kernel(still, still) - 2 * mean_kernel(moved, still)


def test_mean_is_the_true_distance():
    found = kernel_distance(normal(200_000, 3, 1, 0.5), normal(200_000, 3, 2), num_subsets=300, subset_images=400)
    assert found.mean == pytest.approx(true_distance(3, 0.5), rel=0.05)


@pytest.mark.parametrize("num_subsets", [3, 12, 60])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_interval_covers(num_subsets, shift):
    """95 % of intervals should hold the true distance: of 150, 134 to 150 (three standard deviations)."""
    truth = true_distance(3, shift)
    covered = 0
    for seed in range(150):
        samples, reference = normal(300, 3, 1000 + seed, shift), normal(300, 3, 9000 + seed)
        low, high = kernel_distance(samples, reference, num_subsets=num_subsets, subset_images=30).interval
        covered += low <= truth <= high
    assert 134 <= covered <= 150


def test_interval_is_students():
    samples, reference = normal(107, 3, 0, 0.5), normal(90, 3, 1)
    found = kernel_distance(samples, reference, num_subsets=5, subset_images=30)
    blocks = [
        kernel_distance(samples[i : i + 30], reference[i : i + 30], num_subsets=1, subset_images=30).mean
        for i in (0, 30, 60)
    ]
    half = 4.302652729911275 * np.std(blocks, ddof=1) * np.sqrt(1 / 3 + 2 / 3 / 5)  # t of 2 degrees of freedom
    assert found.num_blocks == 3
    assert found.interval == pytest.approx((found.mean - half, found.mean + half), rel=1e-9)


def test_no_interval_from_one_block():
    found = kernel_distance(normal(59, 3, 0), normal(90, 3, 1), num_subsets=2, subset_images=30)
    assert (found.interval, found.num_blocks) == (None, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subset_images": 11}, "samples must hold at least 11 image"),
        ({"subset_images": 1}, "1 subset of 2 images, got 2 subsets of 1"),
        ({"num_subsets": 0}, "got 0 subsets of 5"),
        ({"samples": np.ones((10, 4))}, "agree in dim, got samples 4 and reference 3"),
        ({"reference": np.full((10, 3), np.nan)}, "reference must be finite"),
        ({"reference": np.ones(10)}, r"reference must have shape \(images, dim\)"),
        ({"samples": np.ones((10, 3), np.uint8)}, "samples must be float32 or float64, got uint8"),
    ],
)
def test_refused(change, message):
    arguments = {"samples": np.ones((10, 3)), "reference": np.ones((10, 3)), "num_subsets": 2, "subset_images": 5}
    arguments |= change
    with pytest.raises(ValueError, match=message):
        kernel_distance(arguments.pop("samples"), arguments.pop("reference"), **arguments)
