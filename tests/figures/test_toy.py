import numpy as np
import pytest
import torch

from ddpm.diffusion.samplers.steps import trailing
from ddpm.diffusion.schedule import linear
from ddpm.drawing.plane import Field, Story, grid_of_places, shortened, story
from ddpm.engine.toy import DENSITIES, Toy, draw, train_toy
from ddpm.figures.toy import FRAMES_IN, FRAMES_OUT, Options, flat, told
from ddpm.metrics.energy import energy_distance

STEPS = 120
SCHEDULE = linear(100, 1e-4 * 10, 0.02 * 10)


@pytest.fixture(scope="module")
def toy() -> Toy:
    return train_toy("moons", SCHEDULE, 0, STEPS)


@pytest.mark.parametrize("name", DENSITIES)
def test_points_have_addresses_and_the_size_of_unit_noise(name):
    points = draw(name, 0, torch.arange(4000))
    assert torch.equal(points[5:9], draw(name, 0, torch.arange(5, 9)))
    assert not torch.equal(points, draw(name, 0, torch.arange(4000), "others"))
    assert 0.6 < float(points.std()) < 1.2
    assert abs(float(points.mean())) < 0.3
    assert float(points.abs().max()) < 3


def test_training_brings_points_nearer_to_the_data(toy):
    index = torch.arange(1000)
    *_, last = toy.walk(index, "ddim", trailing(SCHEDULE, 25))
    data = flat(draw("moons", 0, index))
    assert energy_distance(flat(last.x_s), data) < energy_distance(flat(toy.prior(index)), data) / 3


def test_training_can_be_made_again(toy):
    torch.manual_seed(1)
    again = train_toy("moons", SCHEDULE, 0, STEPS)
    assert all(torch.equal(a, b) for a, b in zip(toy.net.parameters(), again.net.parameters(), strict=True))
    assert not torch.equal(toy.net.leave.weight, train_toy("moons", SCHEDULE, 1, 2).net.leave.weight)


def test_the_score_is_the_guessed_noise_turned_around(toy):
    x_t = draw("spiral", 3, torch.arange(7))
    eps_hat = toy.net(x_t, torch.full((7,), 40))
    assert torch.allclose(toy.score(x_t, 40), -eps_hat / float(SCHEDULE.noise_scale[40]), atol=1e-5)


def test_the_story_begins_with_data_and_ends_with_what_was_generated(toy):
    arrays = told(toy, Options(density="moons", sampling_steps=100))
    assert len(arrays.forward) == FRAMES_IN
    assert len(arrays.back) == FRAMES_OUT
    assert np.array_equal(arrays.forward[0][1], arrays.data)
    assert np.array_equal(arrays.back[-1].believed, arrays.generated)  # at t = 1 the two are one
    assert [field.t for field in arrays.back] == sorted((field.t for field in arrays.back), reverse=True)
    assert abs(arrays.back[arrays.chosen].t - 20) <= 3
    assert "Energy distance of 2000 generated points to data: 0.0" in arrays.said


def test_frames_forward_back_and_the_still():
    points, places = np.zeros((5, 2)), grid_of_places(3)
    fields = [Field(t, points + t, points, places) for t in (2, 1)]
    film = story(Story(points, [(0, points), (1, points + 1), (2, points + 2)], fields, points, places, 0, "said", 2))
    assert len(film.frames) == 3 + 2 + 1
    assert film.still == -1
    assert film.milliseconds[-1] == max(film.milliseconds)
    assert film.frames[2].tobytes() != film.frames[-1].tobytes()


def test_arrows_keep_their_direction_and_order_and_stay_short():
    short = shortened(np.array([[1.0, 0.0], [30.0, 40.0], [0.0, 0.0]]))
    assert short[1, 1] / short[1, 0] == pytest.approx(4 / 3)
    assert 0 < short[0, 0] < 0.6 * np.hypot(*short[1]) < 0.3
    assert short[2].tolist() == [0, 0]


def test_places_are_even_and_inside():
    places = grid_of_places(5)
    assert places.shape == (25, 2)
    assert places.min() == pytest.approx(-2)
