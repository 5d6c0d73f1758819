"""The held-out loss: a function of the weights alone, whoever shares the work."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.process import make_target, q_sample
from ddpm.diffusion.time_sampling import uniform
from ddpm.engine.batches import to_images
from ddpm.engine.build import build_schedule
from ddpm.engine.distributed import Team, alone
from ddpm.engine.held_out import COLUMNS, held_out_loss, quarters

CPU = torch.device("cpu")


def predict(x_t, t, labels, keys):
    """A net that looks at pixels, t and labels, and at one image at a time."""
    assert keys is None
    assert not torch.is_grad_enabled()
    shift = 0 if labels is None else labels
    return (0.3 * x_t + 0.1 * x_t.flip(-1)).sin() + (0.01 * (t + shift)).reshape(-1, 1, 1, 1).float()


def measure(params, split, net=predict, team=None) -> dict[str, float]:
    return held_out_loss(params, split, build_schedule(params.schedule, CPU), net, team or alone(CPU))()


def by_hand(params, split: Split, count: int) -> dict[str, float]:
    """One image after another, without chunks, averaged by a loop."""
    schedule, seed = build_schedule(params.schedule, CPU), params.train.seed
    continuous = params.schedule.process != "chain"
    found: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for i in range(count):
        x0 = to_images(torch.from_numpy(split.images[i : i + 1]), CPU, torch.contiguous_format)
        index, label = torch.tensor([i]), torch.from_numpy(split.labels[i : i + 1])
        t = uniform(seed, 0, index, schedule.T, continuous, purpose="held-out time")
        eps = randomness.normal(seed, "held-out noise", 0, index, tuple(x0.shape[1:]))
        with torch.no_grad():
            said = predict(q_sample(schedule, x0, t, eps), t, label if params.model.num_classes else None, None)
        target = make_target(schedule, params.objective.target, x0, eps, t)
        error = float((target - said).double().square().mean())
        name = next(name for name in COLUMNS[1:] if 100 * float(t) <= int(name.split("_")[-1]) * schedule.T)
        for column in (COLUMNS[0], name):
            found[column].append(error)
    return {name: sum(errors) / len(errors) for name, errors in found.items() if errors}


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("objective.target=v", "train.batch=64"),
        ("train.valid_images=13", "train.batch=4"),
        ("schedule.process=vp",),
        ("model.num_classes=0", "objective.label_dropout=0.0", "sample.guidance_scale=1.0"),
        # What training does to the loss is no part of the measure:
        ("objective.weighting=min-snr", "objective.offset_noise=0.5", "objective.time_sampling=antithetic"),
    ],
)
def test_it_is_the_mean_error_of_the_target_at_the_addressed_times(tiny, splits, overrides):
    params = tiny("train.seed=3", *overrides)
    expected = by_hand(params, splits[1], min(params.train.valid_images, 14))
    assert len(expected) > 2
    assert measure(params, splits[1]) == pytest.approx(expected, rel=1e-5)


def test_every_call_sees_the_same_times_and_noise(tiny, splits):
    held_out = held_out_loss(tiny(), splits[1], build_schedule(tiny().schedule, CPU), predict, alone(CPU))
    assert held_out() == held_out()
    assert measure(tiny("train.seed=1"), splits[1]) != held_out()


@dataclass(frozen=True)
class Rehearsed(Team):
    """A process of a team whose others have left their parts in `parts` before, or will."""

    parts: dict[int, torch.Tensor] = field(default_factory=dict)

    def gather(self, values):
        self.parts[self.rank] = values
        return torch.cat([self.parts.get(rank, values) for rank in range(self.count)])


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize(("images", "batch"), [(14, 3), (13, 4), (10, 8), (14, 14), (1, 8)])
def test_the_number_of_processes_changes_no_bit_and_all_call_the_net_equally_often(tiny, splits, images, batch, count):
    params = tiny(f"train.valid_images={images}", f"train.batch={batch}")
    alone_it_is, parts = measure(params, splits[1]), {}
    for attempt in range(2):  # only in the second one all parts are there
        sizes = []
        for rank in range(count):
            seen: list[int] = []

            def watched(x_t, *others, seen=seen):
                seen.append(len(x_t))
                return predict(x_t, *others)

            found = measure(params, splits[1], watched, Rehearsed(rank, count, CPU, parts))
            sizes.append(seen)
            assert attempt == 0 or found == alone_it_is
        assert sizes == [sizes[0]] * count
        assert max(sizes[0]) <= batch


def test_chunks_are_equal_so_that_hardly_an_image_is_seen_twice(tiny, splits):
    seen = []
    measure(tiny("train.valid_images=13"), splits[1], lambda x_t, *_: seen.append(len(x_t)) or x_t)
    assert seen == [7, 7]


def test_a_quarter_without_images_is_left_out(tiny, splits):
    found = measure(tiny("train.valid_images=1"), splits[1])
    assert len(found) == 2
    assert len(set(found.values())) == 1
    assert tuple(measure(tiny("train.valid_images=14", "train.seed=1"), splits[1])) == COLUMNS


@pytest.mark.parametrize("T", [1, 2, 4, 10, 1000])
def test_quarters_end_with_their_last_step(T):
    steps = torch.arange(1, T + 1)
    k = quarters(steps, T)
    assert ((4 * steps > k * T) & (4 * steps <= (k + 1) * T)).all()
    assert quarters(torch.tensor([1.0, 250.0, 250.0001, 1000.0], dtype=torch.float64), 1000).tolist() == [0, 0, 1, 3]


def test_the_mean_is_taken_in_float64(tiny, splits):
    """A float32 sum in this order would lose the small losses beside a large one."""
    params = tiny("train.batch=1", "train.valid_images=14", "objective.target=x0")
    black = Split(np.zeros_like(splits[1].images), splits[1].labels)
    calls = itertools.count()

    def net(x_t, *others):
        return torch.full_like(x_t, -1.0 + (2.0**14 if next(calls) == 0 else 1.0))

    assert measure(params, black, net)["valid_loss"] == (2.0**28 + 13) / 14


def test_an_empty_split_is_fine_until_it_is_measured(tiny, splits):
    empty = Split(splits[1].images[:0], splits[1].labels[:0])
    assert callable(held_out_loss(tiny(), empty, build_schedule(tiny().schedule, CPU), predict, alone(CPU)))


def test_a_self_conditioned_net_sees_zeros_and_a_learned_variance_is_left_out(tiny, splits):
    params = tiny(
        "objective.self_condition=true",
        "objective.variance=learned",
        "objective.vlb_weight=0.001",
    )

    def net(x_in, t, labels, keys):
        x_t, seen = x_in.chunk(2, dim=1)
        assert (seen == 0).all()
        said = predict(x_t, t, labels, keys)
        return torch.cat([said, 100 + said], dim=1)

    assert measure(params, splits[1], net) == measure(tiny(), splits[1])
