"""Do samples lie nearer to the training images than unseen real images do? Then they are copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ddpm.metrics.manifold import nearest

NEAR_QUANTILE = 0.01


@dataclass(frozen=True)
class Memorization:
    """How the samples' distances to the training images compare with those of held-out real images.

    Args:
        value: probability that a sample lies nearer than a held-out image, ties counting half; 1: copies, 0.5: like
            unseen real images, 0: far off.
        z: the same in standard deviations of its distribution under equality; negative: copying, as in the paper.
        nearer_share: share of samples that lie nearer than the nearest 1 % of held-out images; expected: 0.01.
    """

    value: float
    z: float
    nearer_share: float


def memorization(
    samples: NDArray[np.floating[Any]], train: NDArray[np.floating[Any]], held_out: NDArray[np.floating[Any]]
) -> Memorization:
    """Data-copying test (Meehan, Chaudhuri and Dasgupta 2020, sec. 3), over the whole space as one cell.

    value = P(d(sample) < d(held_out)) + P(d(sample) = d(held_out)) / 2, d the distance to the nearest training image

    Without cells, copies of some images can hide behind samples that lie far off; `nearer_share` shows those too.

    Args:
        samples: (images, dim), float32 or float64; train and held_out alike, held_out not part of train.

    Raises:
        ValueError: features that do not fit.
    """
    return compared(nearest(samples, train)[0], nearest(held_out, train)[0])


def compared(of_samples: NDArray[np.float64], of_held_out: NDArray[np.float64]) -> Memorization:
    """The test on distances to the nearest training image, by ranks (Mann and Whitney 1947).

    z = (U - n m / 2) / sqrt(n m / 12 (n + m + 1 - sum (t^3 - t) / ((n + m)(n + m - 1)))), t images tie at a distance

    Args:
        of_samples: (n,) distances of samples, 0 or more; of_held_out: (m,) alike.

    Raises:
        ValueError: no distances, or some that are not finite.
    """
    for name, distances in (("samples", of_samples), ("held-out images", of_held_out)):
        if distances.ndim != 1 or distances.size == 0 or not np.isfinite(distances).all():
            raise ValueError(f"distances of {name} must be finite and of shape (images,), got {distances.shape}")
    num_samples, num_held_out = len(of_samples), len(of_held_out)
    num_all, pairs = num_samples + num_held_out, num_samples * num_held_out
    together = np.concatenate([of_samples, of_held_out])
    farther = float(rankdata(together)[:num_samples].sum()) - num_samples * (num_samples + 1) / 2
    ties = np.unique(together, return_counts=True)[1].astype(np.float64)
    variance = pairs / 12 * (num_all + 1 - float((ties**3 - ties).sum()) / (num_all * (num_all - 1)))
    # all distances alike: nothing speaks for copying and nothing against it
    z = (farther - pairs / 2) / float(np.sqrt(variance)) if variance > 0 else 0.0
    return Memorization(1.0 - farther / pairs, z, nearer_share(of_samples, of_held_out, NEAR_QUANTILE))


def nearer_share(of_samples: NDArray[np.float64], of_held_out: NDArray[np.float64], quantile: float) -> float:
    """Share of samples that lie nearer than this quantile of held-out images; 0: nearer than every one of them.

    Args:
        of_samples: (n,) distances to the nearest training image; of_held_out: (m,) alike.
    """
    return float((of_samples < np.quantile(of_held_out, quantile)).mean())
