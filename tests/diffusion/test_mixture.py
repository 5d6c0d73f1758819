import pytest
import torch

from ddpm.diffusion.mixture import Mixture
from ddpm.diffusion.schedule import Scales

MIXTURE = Mixture((0.3, 0.7), (-2.0, 1.0), (0.5, 0.25))
GRID = torch.linspace(-6, 6, 24001, dtype=torch.float64)


def test_density_cdf_and_moments_agree():
    density, width = MIXTURE.density(GRID), float(GRID[1] - GRID[0])
    assert float(density.sum() * width) == pytest.approx(1, abs=1e-6)
    assert torch.allclose((density.cumsum(dim=0) * width)[::100], MIXTURE.cdf(GRID)[::100], atol=1e-3)
    mean = float((GRID * density).sum() * width)
    assert mean == pytest.approx(MIXTURE.mean, abs=1e-6)
    assert float(((GRID - mean).square() * density).sum() * width) == pytest.approx(MIXTURE.std**2, abs=1e-6)


def test_quantiles_invert_the_cdf():
    shares = torch.tensor([0.001, 0.2, 0.3, 0.5, 0.999], dtype=torch.float64)
    assert torch.allclose(MIXTURE.cdf(MIXTURE.quantiles(shares)), shares, atol=1e-12)


def test_noising_adds_variances_and_scales_means():
    noised = MIXTURE.noised(Scales(0.6, 0.8))
    assert noised.means == pytest.approx((-1.2, 0.6))
    assert noised.stds == pytest.approx(((0.09 + 0.64) ** 0.5, (0.0225 + 0.64) ** 0.5))
    assert noised.std**2 == pytest.approx(0.36 * MIXTURE.std**2 + 0.64)
    assert MIXTURE.noised(Scales(1.0, 0.0)) == MIXTURE
