import numpy as np
import pytest

from ddpm.drawing.densities import Moment, densities
from ddpm.figures import pixel_densities
from ddpm.figures.pixel_densities import Options


@pytest.fixture
def moments(material, monkeypatch):
    """The moments that a film is made of."""
    caught = []
    monkeypatch.setattr(pixel_densities, "densities", lambda moments, still: caught.extend(moments))
    given = material("data.source=folder", "data.channels=3")
    pixel_densities.draw(given, Options(images=16, frames=5))
    return caught, given.train.images


def test_from_the_images_to_the_normal_distribution(moments):
    found, images = moments
    assert [moment.t for moment in found] == [0, 125, 354, 650, 1000]
    assert found[0].values == pytest.approx(np.asarray(images[:16]).transpose(0, 3, 1, 2).ravel() / 127.5 - 1, abs=1e-6)
    assert np.array_equal(found[0].tiles, images[:4])
    assert found[-1].values.mean() == pytest.approx(0, abs=0.06)
    assert found[-1].values.std() == pytest.approx(1, abs=0.05)
    assert [moment.signal for moment in found] == sorted((moment.signal for moment in found), reverse=True)


def test_one_frame_a_moment_and_the_ends_stay_longer():
    tiles = np.zeros((4, 8, 6, 1), np.uint8)
    film = densities([Moment(t, np.full(9, t / 10), tiles, 1 - t / 10) for t in range(4)], still=1)
    assert len(film.frames) == 4
    assert film.still == 1
    assert film.milliseconds[0] == film.milliseconds[-1] > film.milliseconds[1]
    assert film.frames[0].tobytes() != film.frames[1].tobytes()


def test_fewer_images_than_asked_for_are_all_of_them(material):
    film = pixel_densities.draw(material(), Options(images=4096, frames=3))
    assert film.frames == pixel_densities.draw(material(), Options(images=20, frames=3)).frames
