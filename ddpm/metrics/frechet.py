"""The Fréchet distance of two Gaussians, exact also where a covariance has no full rank."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A covariance that went through float32 can have eigenvalues this far below zero, relative to the largest.
NEGATIVE_TOLERANCE = 1e-5


def frechet_distance(
    mean_1: NDArray[np.floating[Any]],
    cov_1: NDArray[np.floating[Any]],
    mean_2: NDArray[np.floating[Any]],
    cov_2: NDArray[np.floating[Any]],
) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982), the distance of FID (Heusel et al. 2017).

    d^2 = |mean_1 - mean_2|^2 + tr(cov_1) + tr(cov_2) - 2 tr((cov_1 cov_2)^(1/2))

    With cov_i = F_i F_i^T the last trace is the sum of the singular values of F_1^T F_2. Unlike the square root of
    the product, which is not symmetric, that needs no complex numbers and no epsilon on the diagonal, and holds for
    fewer images than dimensions.

    Args:
        mean_1: (dim,); mean_2 alike.
        cov_1: (dim, dim), symmetric, positive semi-definite; cov_2 alike.

    Returns:
        The distance, 0 or more, in squared units of the features.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a matrix that is no covariance.
    """
    means = [_checked(f"mean_{i}", mean, 1) for i, mean in ((1, mean_1), (2, mean_2))]
    covariances = [_checked(f"cov_{i}", cov, 2) for i, cov in ((1, cov_1), (2, cov_2))]
    dim = len(means[0])
    if len(means[1]) != dim or any(cov.shape != (dim, dim) for cov in covariances):
        shapes = ", ".join(str(array.shape) for array in (*means, *covariances))
        raise ValueError(f"means (dim,) and covariances (dim, dim) must agree in dim, got {shapes}")
    factors = [_factor(f"cov_{i}", cov) for i, cov in enumerate(covariances, start=1)]
    root_trace = float(np.linalg.svd(factors[0].T @ factors[1], compute_uv=False).sum())
    traces = float(sum(np.trace(cov) for cov in covariances))
    between = traces - 2.0 * root_trace
    assert between >= -NEGATIVE_TOLERANCE * traces, f"covariance term {between} of traces {traces} is below zero"
    shift = means[0] - means[1]
    return float(shift @ shift) + max(between, 0.0)  # the term is 0 or more; less than 0 is rounding


def _checked(name: str, array: NDArray[np.floating[Any]], ndim: int) -> NDArray[np.float64]:
    checked = np.asarray(array, dtype=np.float64)
    if checked.ndim != ndim or checked.size == 0:
        raise ValueError(f"{name} must have {ndim} dimension(s) and not be empty, got shape {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite values")
    return checked


def _factor(name: str, cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of shape (dim, rank) with F F^T = cov.

    Directions whose eigenvalue is below rounding (dim * eps * largest, the rule of `numpy.linalg.matrix_rank`) are
    left out: their noise of 1e-16 would enter the trace as its root, 1e-8 each.
    """
    if not np.allclose(cov, cov.T, rtol=1e-5, atol=1e-8 * np.abs(cov).max()):
        raise ValueError(f"{name} must be symmetric, got one that differs from its transpose")
    values, vectors = np.linalg.eigh(cov)
    largest = max(float(values[-1]), 0.0)
    if values[0] < -NEGATIVE_TOLERANCE * largest or (largest == 0.0 and values[0] < 0.0):
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {values[0]:.6g}")
    kept = values > len(values) * np.finfo(np.float64).eps * largest
    factor: NDArray[np.float64] = vectors[:, kept] * np.sqrt(values[kept])
    return factor
