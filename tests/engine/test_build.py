"""Parameters become the objects that they name."""

import pytest
import torch

from ddpm.diffusion.denoiser import clip
from ddpm.engine.build import build_schedule, build_settings, build_threshold

CPU = torch.device("cpu")


def test_rescaled_betas_add_the_same_noise_in_fewer_steps(tiny):
    tables = {
        T: build_schedule(tiny(f"schedule.T={T}", "schedule.rescale=true", "sample.steps=5").schedule, CPU)
        for T in (100, 1000)
    }
    assert float(tables[100].beta[1]) == pytest.approx(1e-3)
    assert float(tables[100].beta.sum()) == pytest.approx(float(tables[1000].beta.sum()))


@pytest.mark.parametrize("process", ["vp", "sub-vp", "ve"])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_continuous_processes_know_that_they_are(tiny, process, kind):
    schedule = build_schedule(tiny(f"schedule.process={process}", f"schedule.kind={kind}").schedule, CPU)
    assert schedule.continuous
    assert schedule.T == 20
    assert (schedule.log_snr.diff() < 0).all()


def test_sigma_min_and_sigma_max_bound_the_exploding_process(tiny):
    chosen = tiny("schedule.process=ve", "schedule.sigma_min=0.02", "schedule.sigma_max=30.0").schedule
    schedule = build_schedule(chosen, CPU)
    assert float(schedule.noise_scale[1]) == pytest.approx(0.02)
    assert float(schedule.noise_scale[-1]) == pytest.approx(30)
    assert schedule.prior_scale == pytest.approx(30)


def test_zero_terminal_snr_leaves_no_signal(tiny):
    chosen = tiny("schedule.zero_terminal_snr=true", "objective.target=v").schedule
    assert float(build_schedule(chosen, CPU).signal_scale[-1]) == 0


def test_every_setting_of_the_sampler_comes_from_its_parameter(tiny):
    sample = tiny("sample.eta=0.3", "sample.churn=7.0", "sample.corrector_steps=4", "sample.tolerance=0.01").sample
    settings = build_settings(sample)
    for name in vars(settings):
        value = getattr(sample, name)
        assert getattr(settings, name) == (tuple(value) if isinstance(value, list) else value)


def test_thresholds_are_chosen_by_name(tiny):
    assert build_threshold(tiny().sample) is clip
    assert build_threshold(tiny("sample.clip_x0=false").sample) is None
    dynamic = build_threshold(tiny("sample.clip_x0=false", "sample.dynamic_threshold=0.5").sample)
    x0_hat = torch.tensor([0.5, 1.0, 2.0, 8.0]).reshape(1, 1, 2, 2)
    assert dynamic is not None
    torch.testing.assert_close(dynamic(x0_hat).flatten(), torch.tensor([1 / 3, 2 / 3, 1.0, 1.0]))
