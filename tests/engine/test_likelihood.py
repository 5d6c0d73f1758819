"""Bits/dim from a checkpoint: addressed, independent of the batch, and refused where there are none."""

import dataclasses
import math

import pytest
import torch

from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.invert import draw, invert_images, psnr
from ddpm.engine.likelihood import Likelihood, evaluations, likelihood

CPU = torch.device("cpu")
ASKED = Likelihood("vlb", "fixed_small", False, 2, 1e-2, num_images=3, batch=3, seed=0)
ODE = dataclasses.replace(ASKED, method="ode")
LEARNED = ("objective.variance=learned", "objective.vlb_weight=0.001")
ZERO = ("schedule.zero_terminal_snr=true", "objective.target=v")


@pytest.fixture
def checkpoint(tiny):
    """An untrained net whose output is not zero, so that its gradient is not either."""

    def make(*overrides):
        params = tiny(*overrides)
        net = build_net(params.data, params.model, params.objective)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in net.parameters():
                weight += 0.005 * torch.randn(weight.shape, generator=generator)
        return Checkpoint(params.data, params.schedule, params.model, params.objective, 0, net.state_dict())

    return make


def ask(checkpoint, split, asked):
    return likelihood(checkpoint, split, asked, CPU, lambda _: None)


def test_the_record_of_the_bound_has_its_terms_and_its_protocol(checkpoint, splits):
    ticks = []
    found = likelihood(checkpoint(), splits[1], ASKED, CPU, ticks.append)
    assert sum(ticks) == evaluations(checkpoint(), ASKED) == found["nfe"] == 20
    assert found["bits_per_dim"] == pytest.approx(sum(found["terms"].values()))
    assert all(term > 0 for term in found["terms"].values())
    assert set(found["terms"]) == {"L_T", "L_t sum", "L_0"}
    assert found["standard_error"] > 0
    assert found["protocol"] == {"variance": "fixed_small", "clip_x0": False, "draws_per_step": 1, "seed": 0}


def test_the_record_of_the_density_has_its_protocol(checkpoint, splits):
    found = ask(checkpoint(), splits[1], ODE)
    assert found["nfe"] > 10
    assert found["protocol"]["t_min"] == 1
    assert found["protocol"]["dequantization"] == "uniform"
    assert math.isfinite(found["bits_per_dim"])


@pytest.mark.parametrize("asked", [ASKED, ODE], ids=["vlb", "ode"])
def test_an_image_does_not_know_its_batch(checkpoint, splits, asked):
    values = [ask(checkpoint(), splits[1], dataclasses.replace(asked, batch=batch)) for batch in (1, 2, 3)]
    for value in values[1:]:
        assert value["bits_per_dim"] == pytest.approx(values[0]["bits_per_dim"], rel=1e-5)
        assert value["nfe"] == values[0]["nfe"]


@pytest.mark.parametrize("asked", [ASKED, ODE], ids=["vlb", "ode"])
def test_the_same_seed_gives_the_same_value_and_another_seed_another(checkpoint, splits, asked):
    first, second = (ask(checkpoint(), splits[1], asked)["bits_per_dim"] for _ in range(2))
    assert first == second != ask(checkpoint(), splits[1], dataclasses.replace(asked, seed=1))["bits_per_dim"]


def test_labels_of_the_split_reach_the_net(checkpoint, splits):
    split = splits[1]
    moved = dataclasses.replace(split, labels=(split.labels + 1) % 10)
    assert ask(checkpoint(), split, ASKED)["bits_per_dim"] != ask(checkpoint(), moved, ASKED)["bits_per_dim"]


def test_variances_and_clipping_differ(checkpoint, splits):
    learned = checkpoint(*LEARNED)
    changes = [{"variance": name} for name in ("fixed_small", "fixed_large", "learned")] + [{"clip": True}]
    values = {ask(learned, splits[1], dataclasses.replace(ASKED, **change))["bits_per_dim"] for change in changes}
    assert len(values) == 4


@pytest.mark.parametrize("process", ["vp", "sub-vp", "ve"])
def test_continuous_processes_have_a_density(checkpoint, splits, process):
    found = ask(checkpoint(f"schedule.process={process}"), splits[1], ODE)
    assert math.isfinite(found["bits_per_dim"])


@pytest.mark.parametrize("asked", [ASKED, ODE], ids=["vlb", "ode"])
def test_self_conditioned_nets_are_shown_zeros(checkpoint, splits, asked):
    made = checkpoint("objective.self_condition=true")
    first = ask(made, splits[1], asked)
    made.weights["conv_in.weight"][:, 1:] = 5.0  # what the second half of the channels would be multiplied with
    assert ask(made, splits[1], asked)["bits_per_dim"] == first["bits_per_dim"]


@pytest.mark.parametrize(
    ("overrides", "change", "message"),
    [
        (("schedule.process=vp",), {}, r"--method must be ode for a process in continuous time \(vp\), got vlb"),
        ((), {"variance": "learned"}, "--variance must be fixed_small or fixed_large .* got learned"),
        (ZERO, {"method": "ode"}, "--method must be vlb for a checkpoint with zero terminal SNR"),
        ((), {"method": "ode", "clip": True}, "--clip must not be given with --method ode"),
        ((), {"num_images": 15}, "--num-images must be at most 14, .* got 15"),
        (
            ("data.image_size=16", "model.attention=[8]"),
            {},
            r"must hold uint8 images of \(16, 16, 1\) like those of the checkpoint",
        ),
    ],
)
def test_what_has_no_likelihood_is_refused(checkpoint, splits, overrides, change, message):
    with pytest.raises(ValueError, match=message):
        ask(checkpoint(*overrides), splits[1], dataclasses.replace(ASKED, **change))


def test_a_single_image_has_no_standard_error(checkpoint, splits):
    assert ask(checkpoint(), splits[1], dataclasses.replace(ASKED, num_images=1))["standard_error"] is None


def test_zero_terminal_snr_has_a_bound_without_a_prior_term(checkpoint, splits):
    assert ask(checkpoint(*ZERO), splits[1], ASKED)["terms"]["L_T"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("process", ["chain", "vp", "sub-vp", "ve"])
def test_more_steps_bring_an_image_back_better(checkpoint, splits, process):
    made = checkpoint(f"schedule.process={process}", "schedule.T=200", "schedule.sigma_max=2.0")
    found = {n: invert_images(made, splits[1], 2, n, 2, CPU, lambda _: None) for n in (5, 20, 80)}
    ratios = [inversion.psnr.mean() for inversion in found.values()]
    assert ratios[0] + 6 < ratios[1] < ratios[2] - 6  # first order: 12 dB for four times the steps
    last = found[80]
    assert (last.latents.shape, str(last.latents.dtype)) == ((2, 1, 8, 8), "float32")
    assert last.columns.shape == (3, 2, 8, 8, 1)
    assert (last.columns[0] == splits[1].images[:2]).all()
    assert last.times == (1, 200, 1)
    assert draw(last, 2, 4).size[0] > 3 * 8 * 4


def test_psnr_is_that_of_its_definition():
    x0 = torch.zeros(2, 1, 4, 4)
    other = torch.full((2, 1, 4, 4), 0.2)
    other[1] = 7.0  # clipped to 1
    assert psnr(x0, other).tolist() == pytest.approx([20.0, 10 * math.log10(4)])


@pytest.mark.parametrize(
    ("overrides", "num_steps", "message"),
    [((), 21, "--steps must be at most the checkpoint's T = 20, .* got 21"), (ZERO, 5, "must leave signal at T")],
)
def test_what_cannot_be_inverted_is_refused(checkpoint, splits, overrides, num_steps, message):
    with pytest.raises(ValueError, match=message):
        invert_images(checkpoint(*overrides), splits[1], 2, num_steps, 2, CPU, lambda _: None)
