"""The inception score: how sure a classifier is of each image, and how many classes all of them show."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from ddpm.metrics.rows import checked_rows


def inception_score(
    logits: NDArray[np.floating[Any]], *, num_splits: int = 10, seed: int = 2020
) -> tuple[float, float]:
    """Inception score (Salimans et al. 2016, sec. 4): mean and standard deviation over splits of shuffled images.

    score = exp( mean_x KL( p(y|x) || mean_x p(y|x) ) )

    It knows no real images, so a net that copies its training data scores well. More images score higher.

    Args:
        logits: (images, classes), float32 or float64, without bias and before any softmax.
        num_splits: parts that are scored on their own; each holds at least 1 image.
        seed: of the shuffle; the default gives the order of torch-fidelity.

    Returns:
        (mean, std); the mean lies in [1, classes].

    Raises:
        ValueError: logits that do not fit, or fewer images than splits.
    """
    if num_splits < 1:
        raise ValueError(f"num_splits must be at least 1, got {num_splits}")
    logits = checked_rows("logits", logits, num_splits)
    num_images = len(logits)
    order = np.random.RandomState(seed).permutation(num_images)  # the generator of torch-fidelity
    edges = [index * num_images // num_splits for index in range(num_splits + 1)]
    parts = [order[start:stop] for start, stop in pairwise(edges)]
    scores = [_score(logits[part].astype(np.float64)) for part in parts]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: NDArray[np.float64]) -> float:
    """exp of the entropy of the mean less the mean of the entropies, which needs no log of a class nobody shows."""
    log_p = log_softmax(logits, axis=1)
    p = np.exp(log_p)
    marginal = p.mean(axis=0)
    return float(np.exp((p * log_p).sum(axis=1).mean() - xlogy(marginal, marginal).sum()))
