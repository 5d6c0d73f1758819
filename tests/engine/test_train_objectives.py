"""Objectives in training: precision, gradients, resuming, and nothing that waits for the device."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ddpm import randomness
from ddpm.diffusion.time_sampling import TIME_SAMPLINGS, LossHistory
from ddpm.engine import step as train
from ddpm.engine.batches import Batch
from ddpm.engine.build import build_denoiser, build_net, build_objective, build_predict, build_schedule, build_times
from ddpm.engine.distributed import alone
from ddpm.engine.held_out import held_out_loss
from ddpm.experiment.params import ObjectiveParams

CPU = torch.device("cpu")
HYBRID = ["objective.variance=learned", "objective.vlb_weight=0.001"]
LEARNED_BOUND = ["objective.variance=learned", "objective.weighting=vlb", "sample.variance=learned"]
OPTIONS = {
    "plain": [],
    "hybrid": HYBRID,
    "bound": ["objective.weighting=vlb"],
    "learned bound": LEARNED_BOUND,
    "self-conditioned": ["objective.self_condition=true"],
    "everything": [*HYBRID, "objective.target=v", "objective.weighting=min-snr", "objective.self_condition=true"],
    "score, continuous": ["schedule.process=sub-vp", "objective.target=score", "objective.weighting=p2"],
}


def batch(t, size=8, seed=0):
    index = torch.arange(len(t))
    x0 = randomness.normal(seed, "test x0", 0, index, (1, size, size)).clamp(-1, 1)
    eps = randomness.normal(seed, "test eps", 0, index, (1, size, size))
    keys = randomness.words(seed, "test dropout", 0, index, 1)[:, 0]
    return Batch(x0, index % 11, t, torch.ones(len(t)), eps, keys)


def losses_of(params, net, shown, precision="float32", twice=False):
    schedule = build_schedule(params.schedule, CPU)
    predict = build_predict(net, CPU, precision)
    return train.image_losses(schedule, build_objective(params.objective), predict, shown, True, twice)


@pytest.mark.parametrize("target", ["eps", "v"])
def test_a_net_in_bf16_gets_the_right_noise_at_every_step(tiny, target):
    """Tables or noise cast to bf16 before the square root would leave the first ten steps without any."""
    params = tiny("schedule.T=1000", f"objective.target={target}")
    schedule, conv, received = build_schedule(params.schedule, CPU), torch.nn.Conv2d(1, 1, 1), []

    def net(x, t, labels, keys):
        assert torch.is_autocast_enabled("cpu")
        received.append(x)
        output = conv(x)
        assert output.dtype == torch.bfloat16
        return output

    every = torch.arange(1, 1001)
    shown = batch(every)._replace(x0=torch.zeros(1000, 1, 8, 8))
    losses = losses_of(params, net, shown, "bf16")
    assert received[0].dtype == losses.dtype == torch.float32
    std = received[0].flatten(1).double().std(dim=1) / shown.eps.flatten(1).double().std(dim=1)
    torch.testing.assert_close(std, schedule.noise_scale[1:], rtol=1e-6, atol=0)
    seen_by_kernel = received[0].bfloat16().flatten(1).double().std(dim=1) / shown.eps.flatten(1).double().std(dim=1)
    torch.testing.assert_close(seen_by_kernel, schedule.noise_scale[1:], rtol=2**-8, atol=0)


def test_losses_in_bf16_are_those_of_float32_up_to_the_net_s_rounding(tiny):
    params = tiny(*OPTIONS["everything"], "model.dropout=0.0")
    net = trained_alike(params)
    shown = batch(torch.arange(1, 21))
    full, half = (losses_of(params, net, shown, precision) for precision in ("float32", "bf16"))
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.02)


def trained_alike(params):
    """A net whose last layers are no longer zero."""
    net = build_net(params.data, params.model, params.objective)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
            parameter.add_(0.05 * noise)
    return net


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("option", OPTIONS)
def test_gradients_reach_every_parameter(tiny, option, precision):
    """Also past the first look of self-conditioning, whose casts to bf16 must not be reused without gradient."""
    params = tiny(*OPTIONS[option], "model.channels=64", "model.dropout=0.0")
    net = trained_alike(params)
    t = torch.tensor([1, 2, 3, 7, 11, 15, 19, 20])
    shown = batch(t.double() if params.schedule.process != "chain" else t)
    losses = losses_of(params, net, shown, precision, twice=params.objective.self_condition)
    assert losses.shape == (8,)
    losses.mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("kill_at", [7, 11])
@pytest.mark.parametrize("process", [[], LEARNED_BOUND])
def test_importance_sampling_killed_and_resumed_equals_uninterrupted(
    tiny, splits, tmp_path, kill_at, process, run, same, killed
):
    """Four times only, so that their histories are full from step 6 or so on, and batches hold duplicates."""
    overrides = [*process, "objective.time_sampling=importance", "schedule.T=4", "sample.steps=4"]
    whole = run(tiny(*overrides), splits, tmp_path / "whole")
    with pytest.raises(killed):
        run(tiny(*overrides), splits, tmp_path / "cut", kill_at)
    resumed = run(tiny(*overrides), splits, tmp_path / "cut")
    assert resumed.resumed_from == kill_at // 4 * 4
    assert same(whole, resumed)
    assert whole.rows == resumed.rows


def test_a_lost_history_would_be_noticed(tiny, splits, tmp_path, monkeypatch, run, same, killed):
    """The test above can fail: a resumed run that begins with an empty history trains other weights."""
    overrides = ["objective.time_sampling=importance", "schedule.T=4", "sample.steps=4"]
    whole = run(tiny(*overrides), splits, tmp_path / "whole")
    with pytest.raises(killed):
        run(tiny(*overrides), splits, tmp_path / "cut", kill_at=11)
    monkeypatch.setattr("ddpm.engine.state.LossHistory", lambda *_: None)
    assert not same(whole, run(tiny(*overrides), splits, tmp_path / "cut"))


@pytest.mark.parametrize("option", ["everything", "score, continuous"])
def test_other_objectives_resume_bit_for_bit(tiny, splits, tmp_path, option, run, same, killed):
    params = tiny(*OPTIONS[option], "objective.offset_noise=0.1", "objective.time_sampling=antithetic")
    whole = run(params, splits, tmp_path / "whole")
    with pytest.raises(killed):
        run(params, splits, tmp_path / "cut", kill_at=6)
    assert same(whole, run(params, splits, tmp_path / "cut"))


def test_every_objective_trains_other_weights(tiny, splits, tmp_path, run, same):
    overrides = [
        *(f"objective.target={name}" for name in ("eps", "x0", "v", "score")),
        *(f"objective.weighting={name}" for name in ("min-snr", "p2", "truncated-snr", "vlb")),
        "objective.time_sampling=antithetic",
        "objective.offset_noise=0.1",
        *(f"schedule.process={name}" for name in ("vp", "sub-vp", "ve")),
    ]
    base = ["schedule.T=1000", "train.steps=2", "train.valid_every=0"]  # 20 steps would never reach an SNR below 1
    runs = {override: run(tiny(*base, override), splits, tmp_path / override) for override in overrides}
    assert [pair for pair in itertools.combinations(runs, 2) if same(runs[pair[0]], runs[pair[1]])] == []


def test_the_coin_of_self_conditioning_is_fair_and_follows_from_seed_and_step():
    tosses = [train.look_twice(True, 0, step) for step in range(1, 1001)]
    assert 430 < sum(tosses) < 570
    assert tosses[:50] == [train.look_twice(True, 0, step) for step in range(1, 51)]
    assert not any(train.look_twice(False, 0, step) for step in range(1, 51))
    assert tosses[:50] != [train.look_twice(True, 1, step) for step in range(1, 51)]


def test_the_held_out_loss_knows_no_weighting(tiny, splits):
    """One net, judged alike: only the second half of a learned variance makes another net of it."""
    alike = ["objective.weighting=min-snr", "objective.weighting=vlb", "objective.time_sampling=importance"]
    params = tiny()
    schedule, net = build_schedule(params.schedule, CPU), trained_alike(params).eval()
    predict = build_predict(net, CPU, "float32")
    expected = held_out_loss(params, splits[1], schedule, predict, alone(CPU))()
    for override in [*alike, "objective.offset_noise=0.5"]:
        assert held_out_loss(tiny(override), splits[1], schedule, predict, alone(CPU))() == expected
    double = build_predict(lambda *args: torch.cat([net(*args), 1e3 + net(*args)], dim=1), CPU, "float32")
    assert held_out_loss(tiny(*HYBRID), splits[1], schedule, double, alone(CPU))() == expected
    assert held_out_loss(tiny("objective.target=v"), splits[1], schedule, predict, alone(CPU))() != expected


def test_offset_noise_shifts_whole_channels(tiny, splits):
    params = tiny("objective.offset_noise=0.5", "data.image_size=8")
    schedule = build_schedule(params.schedule, CPU)
    with_offset, without = (
        train.build_batches(
            tiny(f"objective.offset_noise={size}", "train.batch=2000"), splits[0], schedule, None, alone(CPU)
        )(1)
        for size in (0.5, 0.0)
    )
    shift = with_offset.eps - without.eps
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift), rtol=0, atol=1e-6)
    assert float(shift[:, 0, 0, 0].std()) == pytest.approx(0.5, rel=0.05)
    assert abs(float(shift[:, 0, 0, 0].mean())) < 0.04
    assert torch.equal(with_offset.t, without.t)


def test_the_tables_of_times_have_the_names_of_the_parameter():
    allowed = ObjectiveParams.model_fields["time_sampling"].annotation
    assert {*TIME_SAMPLINGS, "importance"} == set(allowed.__args__)


@pytest.mark.parametrize(("sampler", "remember"), [("ddim", True), ("ode", False)])
def test_only_samplers_along_one_trajectory_remember(tiny, sampler, remember):
    params = tiny("objective.self_condition=true", f"sample.sampler={sampler}", "sample.guidance_scale=1.0")
    net = trained_alike(params).eval().requires_grad_(False)
    denoise = build_denoiser(
        net,
        build_schedule(params.schedule, CPU),
        params.objective,
        params.model,
        params.sample,
        torch.tensor([1, 2]),
    )
    x_t, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([9, 9])
    assert torch.equal(denoise(x_t, t).x0_hat, denoise(x_t, t).x0_hat) != remember


class NoReading(TorchDispatchMode):
    """Refuses what would wait for a GPU: a value read by the host, or a shape that depends on values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in {"_local_scalar_dense", "nonzero", "equal"}, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("option", OPTIONS)
def test_no_objective_reads_a_value_from_the_device(tiny, option):
    params = tiny(*OPTIONS[option], "model.dropout=0.0")
    net, schedule = build_net(params.data, params.model, params.objective), build_schedule(params.schedule, CPU)
    importance = params.schedule.process == "chain"
    history = LossHistory.empty(schedule.T, CPU) if importance else None
    times = build_times(params.objective, schedule, 0, history)
    with NoReading():
        t, weight = times(1, torch.arange(8))
        shown = batch(t)._replace(weight=weight)
        losses = losses_of_parts(params, schedule, net, shown)
        (losses * weight).mean().backward()
        if history is not None:
            history.update(t, losses.detach())


@pytest.mark.parametrize("override", ["train.accumulate=1", "train.accumulate=2", "objective.time_sampling=importance"])
def test_no_optimizer_step_reads_a_value_from_the_device(tiny, splits, override):
    training = train.build_training(tiny(override, "train.flip=true"), splits[0], alone(CPU))
    training.step(1)  # the order of the epoch is made once, on the CPU
    with NoReading():
        training.step(2)


def losses_of_parts(params, schedule, net, shown):
    predict = build_predict(net, CPU, "float32")
    twice = params.objective.self_condition
    return train.image_losses(schedule, build_objective(params.objective), predict, shown, True, twice)
