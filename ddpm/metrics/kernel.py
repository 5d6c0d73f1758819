"""The kernel distance of two sets of features: KID, whose estimate has no bias at any number of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ddpm.metrics.rows import check_widths, checked_rows

BLOCK_ROWS = 1024  # of one kernel matrix at a time
CONFIDENCE = 0.95


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance and how sure it is.

    Args:
        mean: over the random subsets; slightly below 0 is possible, the estimate is unbiased.
        std: over the random subsets, which share images: a spread of subsets, no error of the mean.
        interval: (low, high), 95 %, from independent blocks; None with fewer than 2 of them.
        num_blocks: how many blocks there were.
    """

    mean: float
    std: float
    interval: tuple[float, float] | None
    num_blocks: int


def kernel_distance(
    samples: NDArray[np.floating[Any]],
    reference: NDArray[np.floating[Any]],
    *,
    num_subsets: int,
    subset_images: int,
    seed: int = 2020,
) -> KernelDistance:
    """Kernel distance, KID on Inception features (Binkowski et al. 2018, sec. 4): unbiased squared MMD over subsets.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j),
    k(x, y) = (x . y / dim + 1)^3

    The interval is mean +- t_{K-1} sd sqrt(1/K + (1 - 1/K) / num_subsets), with sd over K estimates from disjoint
    blocks of rows, which are independent (Zaremba et al. 2013, the B-test); so the rows must stand in random order. 1/K
    is the error of all images, the rest that of looking at random subsets of them.

    Args:
        samples: (images, dim), float32 or float64; reference alike. Kernels are computed in float64.
        num_subsets: random subsets to average over.
        subset_images: images of each subset and of each block, 2 or more.
        seed: of the subsets; the default draws the subsets of torch-fidelity.

    Raises:
        ValueError: features that do not fit, fewer images than a subset has, or no subset.
    """
    if subset_images < 2 or num_subsets < 1:
        raise ValueError(f"a kernel distance needs 1 subset of 2 images, got {num_subsets} subsets of {subset_images}")
    samples = checked_rows("samples", samples, subset_images)
    reference = checked_rows("reference", reference, subset_images)
    check_widths(samples=samples, reference=reference)
    rng = np.random.RandomState(seed)  # the generator of torch-fidelity
    subsets = np.empty(num_subsets)
    for index in range(num_subsets):
        drawn = samples[rng.choice(len(samples), subset_images, replace=False)]
        real = reference[rng.choice(len(reference), subset_images, replace=False)]
        subsets[index] = _squared_mmd(drawn, real)
    num_blocks = min(len(samples), len(reference)) // subset_images
    mean = float(subsets.mean())
    interval = None
    if num_blocks > 1:
        student = float(stdtrit(num_blocks - 1, 0.5 + CONFIDENCE / 2))
        share = 1.0 / num_blocks + (1.0 - 1.0 / num_blocks) / num_subsets
        half = student * _block_spread(samples, reference, num_blocks, subset_images) * share**0.5
        interval = (mean - half, mean + half)
    return KernelDistance(mean, float(subsets.std()), interval, num_blocks)


def _block_spread(
    samples: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]], num_blocks: int, images: int
) -> float:
    """Standard deviation of the estimates from disjoint blocks of rows."""
    blocks = [slice(start, start + images) for start in range(0, num_blocks * images, images)]
    estimates = np.array([_squared_mmd(samples[block], reference[block]) for block in blocks])
    return float(estimates.std(ddof=1))


def _squared_mmd(drawn: NDArray[np.floating[Any]], real: NDArray[np.floating[Any]]) -> float:
    """Unbiased estimate of the squared MMD of two sets of equally many rows (Gretton et al. 2012, lemma 6)."""
    images = len(drawn)
    x: NDArray[np.float64] = drawn.astype(np.float64)
    y: NDArray[np.float64] = real.astype(np.float64)
    within = _kernel_sum(x, x) - _diagonal_sum(x) + _kernel_sum(y, y) - _diagonal_sum(y)
    return within / (images * (images - 1)) - 2.0 * _kernel_sum(x, y) / images**2


def _kernel_sum(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Sum of the kernel over all pairs, a block of rows at a time."""
    total = 0.0
    for start in range(0, len(first), BLOCK_ROWS):
        base = first[start : start + BLOCK_ROWS] @ second.T
        base /= first.shape[1]
        base += 1.0
        total += float((base * base * base).sum())
    return total


def _diagonal_sum(rows: NDArray[np.float64]) -> float:
    return float(((np.einsum("ij,ij->i", rows, rows) / rows.shape[1] + 1.0) ** 3).sum())
