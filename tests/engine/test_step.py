"""One optimizer step: in parts or whole, by every budget and rate, and what a state brings back."""

import math

import pytest
import torch

from ddpm.engine.build import learning_rate, num_steps
from ddpm.engine.distributed import Team, alone
from ddpm.engine.step import build_training, shares

CPU = torch.device("cpu")


def trained(params, splits, steps):
    training = build_training(params, splits[0], alone(CPU))
    for step in range(1, steps + 1):
        training.step(step)
    return training


@pytest.mark.parametrize("accumulate", [2, 4])
@pytest.mark.parametrize("option", ["plain", "importance", "self-conditioned"])
def test_a_step_in_parts_is_the_step(tiny, splits, accumulate, option):
    overrides = {
        "plain": [],
        "importance": ["objective.time_sampling=importance", "train.steps=30", "schedule.T=5", "sample.steps=5"],
        "self-conditioned": ["objective.self_condition=true"],
    }[option]
    steps = 15 if option == "importance" else 3  # a history fills after ten losses of every t
    overrides += ["figures.strip_columns=3", "train.flip=true", "objective.label_dropout=0.3"]
    whole = trained(tiny(*overrides), splits, steps)
    parts = build_training(tiny(*overrides, f"train.accumulate={accumulate}"), splits[0], alone(CPU))
    parts.load(whole.state())
    # Gradients, not weights: Adam moves a weight whose gradient is nothing but rounding as far as any other.
    whole.backward(steps + 1, 0)
    seen = [parts.backward(steps + 1, part) for part in range(accumulate)]
    for first, second in zip(whole.net.parameters(), parts.net.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole.progress.loss_sum, parts.progress.loss_sum, rtol=1e-6, atol=1e-6)
    if whole.progress.history is not None:
        assert whole.progress.history.units().unique().numel() > 1  # it has begun to decide
        assert torch.equal(torch.cat([t for t, _ in seen]), whole.batches(steps + 1).t)


@pytest.mark.parametrize("overrides", [[], ["objective.time_sampling=importance"], ["train.optimizer=adamw"]])
def test_a_loaded_state_goes_on_bit_for_bit(tiny, splits, overrides):
    params = tiny(*overrides, "train.ema_decays=[0.9, 0.99]", "train.ema_widths=[0.1]")
    whole = trained(params, splits, 6)
    state = trained(params, splits, 3).state()
    other = build_training(params, splits[0], alone(CPU))
    other.load(state)
    for step in range(4, 7):
        other.step(step)
    for first, second in zip(whole.net.parameters(), other.net.parameters(), strict=True):
        assert torch.equal(first, second)
    for name in whole.averages.names:
        assert all(map(torch.equal, whole.averages.weights[name], other.averages.weights[name]))
    assert torch.equal(whole.progress.loss_sum, other.progress.loss_sum)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["train.steps=7"], 7),
        (["train.steps=0", "train.images=80"], 10),
        (["train.steps=0", "train.images=81"], 11),
        (["train.steps=0", "train.epochs=2"], 8),  # 2 * 30 images in batches of 8
    ],
)
def test_budgets_in_steps_images_and_epochs(tiny, overrides, steps):
    assert num_steps(tiny(*overrides).train, 30) == steps


def test_the_rate_warms_up_and_falls_by_half_a_cosine(tiny):
    train = tiny("train.warmup_steps=10", "train.decay=cosine", "train.learning_rate=0.5").train
    rates = [learning_rate(train, step, 110) for step in range(1, 111)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[59] == pytest.approx(0.25)  # half way between warm-up and end
    assert rates[34] == pytest.approx(0.25 * (1 + math.cos(math.pi / 4)))
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert learning_rate(tiny("train.warmup_steps=0").train, 99, 100) == 0.001


def test_clipping_bounds_the_gradient_and_reports_what_it_was(tiny, splits):
    def norms(clip):
        training = build_training(tiny(f"train.clip_norm={clip}"), splits[0], alone(CPU))
        seen = []
        step = training.optimizer.step

        def watched(*args, **kwargs):
            grads = [weight.grad for weight in training.net.parameters()]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))
            return step(*args, **kwargs)

        training.optimizer.step = watched
        training.step(1)
        return seen[0], float(training.progress.grad_norm_sum)

    free, reported = norms(0.0)
    assert free == pytest.approx(reported)
    assert free > 0.5
    clipped, before = norms(0.01)
    assert clipped == pytest.approx(0.01, rel=1e-4)
    assert before == pytest.approx(free)


def test_adamw_shrinks_weights_and_betas_reach_the_optimizer(tiny, splits):
    overrides = ["train.optimizer=adamw", "train.warmup_steps=0", "train.betas=[0.5, 0.9]"]
    with_decay = trained(tiny(*overrides, "train.weight_decay=0.1"), splits, 1)
    without = trained(tiny(*overrides, "train.weight_decay=0.0"), splits, 1)
    assert with_decay.optimizer.param_groups[0]["betas"] == (0.5, 0.9)
    start = build_training(tiny(*overrides), splits[0], alone(CPU)).net
    triples = zip(start.parameters(), with_decay.net.parameters(), without.net.parameters(), strict=True)
    for before, shrunk, plain in triples:
        torch.testing.assert_close(plain - shrunk, 0.001 * 0.1 * before, rtol=1e-2, atol=1e-7)


def test_shares_cover_the_batch_once_and_those_of_a_process_lie_in_a_row():
    parts = [shares(24, 3, Team(rank, 4, CPU)) for rank in range(4)]
    assert [number for process in parts for part in process for number in part] == list(range(24))
    with pytest.raises(ValueError, match=r"divisible by processes \* accumulate = 4 \* 3, got 25; choose another"):
        shares(25, 3, Team(0, 4, CPU))
