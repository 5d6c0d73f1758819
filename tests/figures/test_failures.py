import numpy as np
import pytest
import torch

from ddpm.figures import failures
from ddpm.figures.failures import TIMES, Options, processes, verdict


@pytest.fixture
def drawn(material, monkeypatch):
    """The rows that a picture is made of."""
    caught = []

    def keep(rows, times):
        caught.append((rows, times))

    monkeypatch.setattr(failures, "failures", keep)
    given = material("data.image_width=12", "data.source=folder", "data.channels=3")
    failures.draw(given, Options(image=3))
    return caught[0], given.train.images[3]


def test_every_strip_begins_with_the_image_and_has_a_tile_a_step(drawn):
    (rows, times), image = drawn
    assert times == TIMES
    assert len(rows) == 4
    for row in rows:
        assert row.tiles.shape == (len(TIMES), 8, 12, 3)
        assert np.array_equal(row.tiles[0], image)


def test_the_wrong_processes_are_wrong_in_their_own_way(drawn):
    (right, unscaled, coarse, weak), _ = drawn[0]
    assert right.std[-1] == pytest.approx(1, abs=1e-4)
    assert right.signal[-1] < 0.01
    assert unscaled.std[-1] > 3
    assert unscaled.signal.min() == 1
    assert coarse.signal[600] < 0.05 < right.signal[600]
    assert weak.signal[-1] == pytest.approx((1 - 0.0001) ** 500)
    assert weak.std[-1] < 0.8


def test_unscaled_noise_is_what_the_recursion_gives():
    schedule = processes()["Wrong: the same noise, signal not scaled down"]
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert float(schedule.noise_scale[-1]) ** 2 == pytest.approx(float(beta.sum()))
    assert float(schedule.noise_scale[1]) ** 2 == pytest.approx(1e-4)


def test_the_verdict_has_the_numbers():
    right, unscaled, coarse, weak = processes().values()
    assert "t = 770 on, in 23 % of the steps. Noise of step 1: 0.01." in verdict(right, 1.0)
    assert "standard deviation 3.25 (should be 1), 100 % of x0 (should be 0)" in verdict(unscaled, 3.25)
    assert "t = 597 on, in 40 % of the steps. Noise of step 1: 0.1." in verdict(coarse, 1.0)
    assert "95 % of x0" in verdict(weak, 0.7)


def test_pictures_of_other_shapes_and_an_image_that_is_not_there(material):
    given = material("data.image_width=16", "data.source=folder", "data.channels=3")
    failures.draw(given, Options())
    with pytest.raises(ValueError, match="--image must be below 20, the number of training images, got 20"):
        failures.draw(given, Options(image=20))
