"""Three ways to the Frechet distance, on Gaussians whose distance is known in closed form."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ddpm.engine.features import one_thread
from ddpm.metrics.frechet import frechet_distance

Array = NDArray[np.float64]
OURS, SQRTM, EIGVALS = "ddpm", "scipy sqrtm, as pytorch-fid", "torch-fidelity"
FEW_IMAGES = 500


@dataclass(frozen=True)
class Case:
    """Two Gaussians with commuting covariances.

    Attributes:
        name: in the tables.
        first, second: mean (dim,) and covariance (dim, dim).
        exact: their distance.
    """

    name: str
    first: tuple[Array, Array]
    second: tuple[Array, Array]
    exact: float


def cases(dim: int, seed: int = 0) -> Iterator[Case]:
    """One case of full rank, and one of 500 images a side that span different directions.

    cov_i = Q diag(w_i) Q^T;  d^2 = |mean_1 - mean_2|^2 + sum (sqrt(w_1) - sqrt(w_2))^2

    Args:
        dim: features; fewer images than half of them give the second case.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    spectrum = np.logspace(0, -6, dim)  # about how fast the eigenvalues of real features fall
    full = spectrum, spectrum[::-1] * 0.5 + spectrum * rng.uniform(0.5, 1.5, dim)
    rank = min(FEW_IMAGES, dim // 2) - 1
    few = np.zeros((2, dim))
    few[0, :rank], few[1, rank // 2 : rank // 2 + rank] = np.logspace(0, -3, rank), np.logspace(0, -3, rank)[::-1]
    shift = rng.normal(size=dim) * 0.02
    for name, (one, other) in (("full rank", full), (f"rank {rank}", (few[0], few[1]))):
        exact = float(shift @ shift + ((np.sqrt(one) - np.sqrt(other)) ** 2).sum())
        yield Case(name, (np.zeros(dim), _covariance(basis, one)), (shift, _covariance(basis, other)), exact)


def _covariance(basis: Array, spectrum: Array) -> Array:
    covariance: Array = (basis * spectrum) @ basis.T
    return (covariance + covariance.T) / 2


def ours(case: Case) -> float:
    """As `ddpm evaluate` computes it."""
    with one_thread():
        return frechet_distance(*case.first, *case.second)


def sqrtm(case: Case) -> float:
    """By the square root of the product, as pytorch-fid does it.

    Written out, because its own call passes an argument that scipy 1.18 no longer has. A product that it calls singular
    gets 1e-6 on both diagonals, and the imaginary part is dropped; it stops where that exceeds 1e-3, this does not.
    """
    (mean_1, cov_1), (mean_2, cov_2) = case.first, case.second
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a singular matrix: the second case has one
        root: Any = scipy.linalg.sqrtm(cov_1 @ cov_2)
        if not np.isfinite(root).all():
            more = 1e-6 * np.eye(len(cov_1))
            root = scipy.linalg.sqrtm((cov_1 + more) @ (cov_2 + more))
    shift = mean_1 - mean_2
    return float(shift @ shift + np.trace(cov_1) + np.trace(cov_2) - 2 * np.trace(root.real))


def eigvals(case: Case) -> float:
    """By torch-fidelity's own function: the roots of the eigenvalues of the product."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on its import
        from torch_fidelity import metric_fid  # type: ignore[import-untyped]
    sides = [{"mu": mean, "sigma": covariance} for mean, covariance in (case.first, case.second)]
    return float(metric_fid.fid_statistics_to_metric(*sides, False)[metric_fid.KEY_METRIC_FID])


WAYS: dict[str, Callable[[Case], float]] = {OURS: ours, SQRTM: sqrtm, EIGVALS: eigvals}
