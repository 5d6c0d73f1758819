import numpy as np
import pytest

from ddpm.metrics.energy import energy_distance


def test_two_points_against_two_points_by_hand():
    here, there = np.array([[0.0], [1.0]]), np.array([[3.0], [5.0]])
    assert energy_distance(here, there) == pytest.approx(2 * (3 + 5 + 2 + 4) / 4 - 1 - 2)


def test_about_nothing_for_one_density_and_more_for_another():
    generator = np.random.default_rng(0)
    here, there, far = (generator.normal(size=(1500, 2)) + shift for shift in (0, 0, 0.5))
    assert abs(energy_distance(here, there)) < 0.005
    assert energy_distance(here, far) > 0.1
    assert energy_distance(here, far) == pytest.approx(energy_distance(far, here))


def test_refusals():
    with pytest.raises(ValueError, match=r"of one dim, got \(3, 2\) and \(3, 1\)"):
        energy_distance(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="needs 2 points a set, got 1 and 3"):
        energy_distance(np.zeros((1, 2)), np.zeros((3, 2)))
