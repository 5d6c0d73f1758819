"""The Fréchet distance of two Gaussians, exact also where a covariance has no full rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

# A covariance that went through float32 can have eigenvalues this far below zero, relative to the largest.
NEGATIVE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian ready for many distances; `gaussian` makes one.

    Args:
        mean: (dim,) float64.
        covariance: (dim, dim) float64, symmetric, positive semi-definite.
        factor: (dim, rank) float64 with factor @ factor.T = covariance.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    factor: NDArray[np.float64]


def gaussian(mean: NDArray[np.floating[Any]], covariance: NDArray[np.floating[Any]], name: str = "") -> Gaussian:
    """Check and factor one Gaussian, once for all its distances (pivoted Cholesky; Higham 2002, sec. 10.3).

    covariance = F F^T

    Args:
        mean: (dim,).
        covariance: (dim, dim), symmetric, positive semi-definite; eigenvalues below zero by float32 rounding are 0.
        name: what the messages append to "mean" and "cov", such as "_1".

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a matrix that is no covariance.
    """
    center = _checked(f"mean{name}", mean, 1)
    cov = _checked(f"cov{name}", covariance, 2)
    if cov.shape != (len(center), len(center)):
        raise ValueError(
            f"mean{name} (dim,) and cov{name} (dim, dim) must agree in dim, got {center.shape} and {cov.shape}"
        )
    return Gaussian(center, cov, _factor(f"cov{name}", cov))


def frechet_between(first: Gaussian, second: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982), the distance of FID (Heusel et al. 2017).

    d^2 = |mean_1 - mean_2|^2 + tr(cov_1) + tr(cov_2) - 2 tr((cov_1 cov_2)^(1/2))

    With cov_i = F_i F_i^T the last trace is the sum of the singular values of F_1^T F_2. Unlike the square root of
    the product, which is not symmetric, that needs no complex numbers and no epsilon on the diagonal, and holds for
    fewer images than dimensions.

    Returns:
        The distance, 0 or more, in squared units of the features.

    Raises:
        ValueError: the two differ in dimension.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"two Gaussians must agree in dim, got {first.mean.shape} and {second.mean.shape}")
    root_trace = float(np.linalg.svd(first.factor.T @ second.factor, compute_uv=False).sum())
    traces = float(np.trace(first.covariance) + np.trace(second.covariance))
    between = traces - 2.0 * root_trace
    assert between >= -NEGATIVE_TOLERANCE * traces, f"covariance term {between} of traces {traces} is below zero"
    shift = first.mean - second.mean
    return float(shift @ shift) + max(between, 0.0)  # the term is 0 or more; less than 0 is rounding


def frechet_distance(
    mean_1: NDArray[np.floating[Any]],
    cov_1: NDArray[np.floating[Any]],
    mean_2: NDArray[np.floating[Any]],
    cov_2: NDArray[np.floating[Any]],
) -> float:
    """Squared Fréchet distance of two Gaussians given by their moments; `frechet_between` has the formula.

    Args:
        mean_1: (dim,); mean_2 alike.
        cov_1: (dim, dim), symmetric, positive semi-definite; cov_2 alike.

    Returns:
        The distance, 0 or more, in squared units of the features.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a matrix that is no covariance.
    """
    return frechet_between(gaussian(mean_1, cov_1, "_1"), gaussian(mean_2, cov_2, "_2"))


def _checked(name: str, array: NDArray[np.floating[Any]], ndim: int) -> NDArray[np.float64]:
    checked = np.asarray(array, dtype=np.float64)
    if checked.ndim != ndim or checked.size == 0:
        raise ValueError(f"{name} must have {ndim} dimension(s) and not be empty, got shape {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError(f"{name} must be finite, got NaN or infinite values")
    return checked


def _factor(name: str, cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of shape (dim, rank) with F F^T = cov.

    The factorization stops at pivots below rounding (dim * eps * largest, LAPACK's rule): their noise of 1e-16 would
    enter the trace as its root, 1e-8 each. What then remains of a covariance is below rounding too.
    """
    if not np.allclose(cov, cov.T, rtol=1e-5, atol=1e-8 * np.abs(cov).max()):
        raise ValueError(f"{name} must be symmetric, got one that differs from its transpose")
    packed, pivots, rank, stopped = dpstrf(cov, lower=1)
    factor = np.zeros((len(cov), rank))
    factor[pivots - 1] = np.tril(packed)[:, :rank]
    if not stopped:  # all pivots are positive, which proves that the matrix is a covariance
        return factor
    largest = max(float(cov.diagonal().max()), 0.0)
    rounding = 10 * len(cov) * np.finfo(np.float64).eps * largest
    return factor if np.abs(cov - factor @ factor.T).max() <= rounding else _indefinite_factor(name, cov)


def _indefinite_factor(name: str, cov: NDArray[np.float64]) -> NDArray[np.float64]:
    """F of shape (dim, rank) with F F^T the covariance nearest to a matrix that float32 rounding made indefinite.

    Pivots of noise amplify what remains (1e-3 of the largest entry was seen), so eigenvalues decide here.
    """
    values, vectors = np.linalg.eigh(cov)
    largest = max(float(values[-1]), 0.0)
    if values[0] < -NEGATIVE_TOLERANCE * largest or (largest == 0.0 and values[0] < 0.0):
        raise ValueError(f"{name} must be positive semi-definite, got the eigenvalue {values[0]:.6g}")
    kept = values > len(values) * np.finfo(np.float64).eps * largest
    factor: NDArray[np.float64] = vectors[:, kept] * np.sqrt(values[kept])
    return factor
