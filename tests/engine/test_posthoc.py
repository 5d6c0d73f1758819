"""Averages put together after training: profiles by quadrature, factors, and an average that was really tracked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from ddpm.engine.averages import Averages, power_gamma
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ddpm.engine.posthoc import Profile, find_snapshots, inner_product, reconstruct, solve

WIDTHS, STEPS, EVERY = (0.05, 0.1), 320, 40
TRACKED = (0.075, 0.13)  # between the stored ones, and outside of them
STORED = [Profile(width, step) for width in WIDTHS for step in range(EVERY, STEPS + 1, EVERY)]
GRAM = np.array([[inner_product(p, q) for q in STORED] for p in STORED])
SMALL = ("data.image_size=4", "model.multipliers=[1]", "model.attention=[]", "model.time_features=fourier")

profiles = st.builds(Profile, st.floats(0.01, 0.27), st.integers(1, 10_000))


@pytest.fixture
def params(tiny):
    return tiny(*SMALL)


@pytest.fixture
def checkpoint(params):
    """A net at its start, as a snapshot of no average."""
    torch.manual_seed(0)
    net = build_net(params.data, params.model, params.objective)
    with torch.no_grad():
        for buffer in net.buffers():
            buffer.normal_()
    return Checkpoint(params.data, params.schedule, params.model, params.objective, 0, net.state_dict())


@pytest.fixture
def save(tmp_path, checkpoint):
    """Write a snapshot into the folder, as training does."""

    def write(average: str, step: int, **changes: object) -> Path:
        path = tmp_path / f"{average}-step-{step:09d}.safetensors"
        save_checkpoint(path, replace(checkpoint, average=average, step=step, **changes))
        return path

    return write


@pytest.fixture
def tracked(checkpoint, save):
    """Sixteen snapshots of two widths along a random walk, and two more averages of the same walk at its end.

    The walk begins at 1: weights have a part that never changes, such as the scales of norms.
    """
    net = build_net(checkpoint.data, checkpoint.model, checkpoint.objective)
    net.load_state_dict({name: torch.ones_like(tensor) for name, tensor in checkpoint.weights.items()})
    averages = Averages(net, [], [*WIDTHS, *TRACKED])
    for step in range(1, STEPS + 1):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += torch.randn_like(parameter) / STEPS**0.5
        averages.update(step)
        if step % EVERY == 0:
            for width in WIDTHS:
                with averages.in_place(f"width-{width}"):
                    save(f"width-{width}", step, weights=net.state_dict())
    names = [name for name, _ in net.named_parameters()]
    return {width: dict(zip(names, averages.weights[f"width-{width}"], strict=True)) for width in (*WIDTHS, *TRACKED)}


@given(profiles, profiles)
def test_inner_products_are_those_of_quadrature(a, b):
    """In units of the shorter one, u = t / step, so that quadrature sees both peaks."""
    shorter = min(a.step, b.step)

    def product(u: float) -> float:
        values = [(g + 1) * (u * shorter / p.step) ** g / p.step for p, g in ((a, ga), (b, gb))]
        return values[0] * values[1]

    ga, gb = power_gamma(a.width), power_gamma(b.width)
    expected = shorter * quad(product, 0, 1, epsabs=0, epsrel=1e-10, points=(0.9, 0.99))[0]
    assert inner_product(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-300)
    assert inner_product(a, b) == inner_product(b, a)


@given(profiles.filter(lambda profile: profile not in STORED))
def test_factors_add_up_to_1_and_no_others_are_nearer(target):
    solution = solve(STORED, target)
    assert solution.factors.sum() == pytest.approx(1, abs=1e-9)
    length = inner_product(target, target)

    def missed(factors: np.ndarray) -> float:
        cross = sum(f * inner_product(p, target) for f, p in zip(factors, STORED, strict=True))
        return float(1 + (factors @ GRAM @ factors - 2 * cross) / length)

    assert solution.residual**2 == pytest.approx(missed(solution.factors), abs=1e-9)
    rng = np.random.default_rng(0)
    for _ in range(5):
        away = rng.standard_normal(len(STORED)) * 1e-2
        assert missed(solution.factors + away - away.mean()) >= missed(solution.factors)


@pytest.mark.parametrize("index", range(len(STORED)))
def test_a_stored_profile_is_itself(index):
    solution = solve(STORED, STORED[index])
    np.testing.assert_allclose(solution.factors, np.eye(len(STORED))[index], atol=1e-6)
    assert solution.residual < 1e-6


@pytest.mark.parametrize(("width", "gain"), [(0.075, 1.05), (0.13, 1.3), (0.2, 1.5)])
def test_sum_1_as_a_condition_is_nearer_than_division_by_the_sum(width, gain):
    """In the expected error of a random walk: a step at t counts in an average by the rest of its profile after t."""
    target, t = Profile(width, STEPS), np.arange(STEPS)

    def rest(profile: Profile) -> np.ndarray:
        return 1 - np.minimum(t / profile.step, 1) ** (power_gamma(profile.width) + 1)

    def error(factors: np.ndarray) -> float:
        return float(np.linalg.norm(factors @ [rest(p) for p in STORED] - rest(target)) / np.linalg.norm(rest(target)))

    free = np.linalg.solve(GRAM, [inner_product(p, target) for p in STORED])
    assert error(free / free.sum()) > gain * error(solve(STORED, target).factors)


def test_more_snapshots_miss_less():
    target = Profile(0.075, STEPS)
    last = [solve(STORED[-count:] + STORED[:count], target).residual for count in (1, 2, 4)]
    assert last == sorted(last, reverse=True)
    assert solve(STORED, target).residual == pytest.approx(0.0125, abs=1e-4)  # small within the stored widths
    assert solve(STORED, Profile(0.26, STEPS)).residual > 0.15  # but not far outside of them
    assert solve(STORED, Profile(0.075, STEPS - EVERY // 2)).residual > 0.3  # nor between two stored steps


def test_a_reconstructed_average_is_the_tracked_one(tmp_path, tracked):
    files, done = find_snapshots(tmp_path), []
    assert len(files) == 16
    for width in TRACKED:
        found, solution = reconstruct(files, Profile(width, STEPS), done.append)
        assert (found.step, found.average) == (STEPS, f"reconstructed-width-{width}")
        assert solution.residual < 0.02
        truth, ours = (
            torch.cat([w[name].flatten() for name in tracked[width]]) for w in (tracked[width], found.weights)
        )
        error = (ours - truth).norm() / (truth - 1).norm()  # of what the walk added
        assert error < 1.5e-3
        nearest = min(
            float((torch.cat([w.flatten() for w in tracked[other].values()]) - truth).norm()) for other in WIDTHS
        )
        assert nearest > 20 * (ours - truth).norm()  # far better than taking the nearest stored one
    assert done == [1] * 32


def test_a_stored_average_comes_out_as_it_is(tmp_path, tracked):
    files = find_snapshots(tmp_path)
    found, _ = reconstruct(files, Profile(0.1, 280))
    stored = load_checkpoint(tmp_path / "width-0.1-step-000000280.safetensors")
    assert found.weights.keys() == stored.weights.keys()
    for name, weights in stored.weights.items():
        assert found.weights[name].dtype == torch.float32
        torch.testing.assert_close(found.weights[name], weights, rtol=1e-6, atol=1e-6)


def test_buffers_and_weights_that_never_moved_come_out_exactly(tmp_path, save, checkpoint):
    for step in (10, 20):
        save("width-0.05", step)
        save("width-0.1", step)
    found, solution = reconstruct(find_snapshots(tmp_path), Profile(0.2, 20))
    assert solution.residual > 0.01  # although the profile is not quite met
    buffers = dict(build_net(checkpoint.data, checkpoint.model, checkpoint.objective).named_buffers())
    assert buffers
    for name, weights in checkpoint.weights.items():
        if name in buffers:
            assert torch.equal(found.weights[name], weights)
        torch.testing.assert_close(found.weights[name], weights, rtol=1e-6, atol=0)


def test_only_power_functions_are_snapshots(tmp_path, save):
    for average in ("decay-0.99", "none", "reconstructed-width-0.2", "width-0.05", "width-0.1"):
        save(average, 10)
    save("width-0.1", 10).rename(tmp_path / "best.safetensors")
    save("width-0.1", 10)
    (tmp_path / "width-0.1-step-000000010.json").write_text("{}")
    found = find_snapshots(tmp_path)
    assert [(s.profile, s.path.name) for s in found] == [
        (Profile(0.05, 10), "width-0.05-step-000000010.safetensors"),
        (Profile(0.1, 10), "width-0.1-step-000000010.safetensors"),
    ]
    assert not any(snapshot.about.weights for snapshot in found)


def test_snapshots_that_do_not_go_together_are_refused(tmp_path, save, tiny):
    with pytest.raises(ValueError, match=r"must hold at least two snapshots .*, got 0; train with"):
        find_snapshots(tmp_path / "nowhere")
    save("width-0.05", 10)
    with pytest.raises(ValueError, match=r"got 1; train with train.ema_widths="):
        find_snapshots(tmp_path)
    double = save("width-0.1", 10)
    double.rename(tmp_path / "copy-step-000000010.safetensors")
    save("width-0.1", 10)
    with pytest.raises(ValueError, match=r"snapshots must differ, got width-0.1 of step 10 twice; remove one"):
        find_snapshots(tmp_path)
    (tmp_path / "copy-step-000000010.safetensors").unlink()
    other = save("width-0.05", 20, schedule=tiny(*SMALL, "schedule.beta_T=0.03").schedule)
    message = "width-0.05-step-000000020.safetensors: snapshots must be of one training, got another section schedule"
    with pytest.raises(ValueError, match=message):
        find_snapshots(tmp_path)
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged checkpoint"):
        find_snapshots(tmp_path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Profile(0.3, 20), r"width of an average must be in \(0, 0.28\), got 0.3"),
        (
            Profile(0.1, 21),
            r"step of an average must be in 1..20, the last step of the snapshots, got 21; leave it out",
        ),
        (Profile(0.1, 0), r"step of an average must be in 1..20, .*got 0"),
    ],
)
def test_targets_beyond_the_snapshots_are_refused(tmp_path, save, target, message):
    save("width-0.05", 20)
    save("width-0.1", 10)
    with pytest.raises(ValueError, match=message):
        reconstruct(find_snapshots(tmp_path), target)
