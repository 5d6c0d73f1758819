"""Sampling: images by address, whatever the batch or an interruption, and evaluations that were really counted."""

import numpy as np
import pytest
import torch

from ddpm.diffusion.samplers import SAMPLERS
from ddpm.engine import sample as engine
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.distributed import alone

CPU = torch.device("cpu")
NUM_IMAGES = 12
EVALUATIONS = {"heun": 9, "predictor-corrector": 9}  # of five steps; else one a step
KINDS = ["schedule.process=chain", "schedule.process=vp", "schedule.process=sub-vp", "schedule.process=ve"]


def random_checkpoint(params):
    """A net with weights that leave nothing near zero."""
    net, generator = build_net(params.data, params.model, params.objective), torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(value.shape, generator=generator) / max(1, value[0].numel()) ** 0.5
        for name, value in net.state_dict().items()
    }
    return Checkpoint(params.data, params.schedule, params.model, params.objective, 0, weights)


def draw(params, folder, tick=lambda count: None):
    folder.mkdir(exist_ok=True)
    return engine.sample_images(random_checkpoint(params), params.sample, folder, alone(CPU), tick)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_draws_and_its_evaluations_are_counted(sampler, kind, tiny, tmp_path):
    # A small beta_1 makes the first steps of sub-vp nearly noiseless, and its flow too stiff for weights at random.
    noisy = ("schedule.beta_1=0.02", "schedule.beta_T=0.3")
    params = tiny(f"sample.sampler={sampler}", kind, "sample.guidance_scale=2.0", "sample.tolerance=0.1", *noisy)
    drawn = draw(params, tmp_path)
    images = np.load(drawn.path)
    assert images.shape == (NUM_IMAGES, 8, 8, 1)
    assert images.std() > 1
    if sampler == "ode":  # as many as the tolerance asks for
        assert drawn.nfe > 2 * 5
    else:
        assert drawn.nfe == 2 * EVALUATIONS.get(sampler, 5)  # guidance doubles the batch


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_a_conditional_net_is_asked_once_a_step(sampler, tiny, tmp_path):
    drawn = draw(tiny(f"sample.sampler={sampler}", "sample.guidance_scale=1.0"), tmp_path)
    assert drawn.nfe == EVALUATIONS.get(sampler, 5)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_the_batch_size_changes_no_image(sampler, tiny, tmp_path):
    options = (f"sample.sampler={sampler}", "sample.tolerance=0.1", "sample.churn=2.0")
    images = [
        np.load(draw(tiny(*options, f"sample.batch={batch}"), tmp_path / str(batch)).path).astype(int)
        for batch in (12, 5)
    ]
    assert np.abs(images[0] - images[1]).max() <= 1  # kernels may round otherwise for another batch


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_an_interrupted_sampling_goes_on_and_counts_on(sampler, tiny, tmp_path):
    params, done = tiny(f"sample.sampler={sampler}"), []

    def stop_after_two(count):
        done.append(count)
        if len(done) == 3:  # the first call says what an earlier run had done
            raise KeyboardInterrupt

    whole = draw(params, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        draw(params, tmp_path / "cut", stop_after_two)
    assert done == [0, 5, 5]
    counts = np.load(tmp_path / "cut" / "evaluations.npy")
    assert (counts > 0).tolist() == [True, True, False]
    done.clear()
    cut = draw(params, tmp_path / "cut", done.append)
    assert done == [10, 2]
    assert cut.nfe == whole.nfe
    assert cut.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize("spacing", ["uniform", "quadratic", "trailing", "karras"])
def test_noise_starts_with_the_size_of_the_first_step(spacing, tiny):
    """A variance exploding process that starts below T must not start with the noise of T."""
    params = tiny("schedule.process=ve", f"sample.spacing={spacing}", "sample.steps=3", "sample.sampler=dpmpp-2m")
    given = []

    def record(denoise, schedule, x_T, steps, noise, settings):
        given.append((x_T, schedule.path(steps)[0].noise))
        return iter(())

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SAMPLERS, "dpmpp-2m", record)
        engine.trajectories(random_checkpoint(params), params.sample, 0, CPU)(torch.arange(200))
    ((x_T, noise),) = given
    assert float(x_T.std()) == pytest.approx(noise, rel=0.03)


REFUSED = {
    "sample.variance must be fixed_large or fixed_small": ["objective.variance=learned", "objective.vlb_weight=0.001"],
    "sample.sampler must be one of ddpm, ddim": ["sample.sampler=ode"],
    "sample.spacing must not be karras": ["sample.spacing=karras"],
    "sample.guidance_scale must be 1": ["sample.guidance_scale=3.0"],
    "sample.steps must be at most the checkpoint's T = 20": ["schedule.T=30", "sample.steps=30"],
}


@pytest.mark.parametrize("message", REFUSED)
def test_settings_that_a_checkpoint_cannot_serve_are_refused(message, tiny):
    """The parameter file may be another than the one the checkpoint was trained with."""
    zero = ["schedule.zero_terminal_snr=true", "objective.target=v"]
    unguided = ["objective.label_dropout=0.0", "sample.guidance_scale=1.0"]
    checkpoint = random_checkpoint(tiny(*zero, *unguided))
    asked = tiny("sample.guidance_scale=1.0", *REFUSED[message]).sample
    if "variance" in message:
        asked = asked.model_copy(update={"variance": "learned"})
    with pytest.raises(ValueError, match=message):
        engine.require_settings(checkpoint, asked, CPU)


def test_the_record_tells_what_was_counted(tiny, tmp_path):
    params, file = tiny(), tmp_path / "file"
    file.write_bytes(b"any")
    checkpoint = random_checkpoint(params)
    assert engine.describe(checkpoint, params.sample, file, file, 10.0)["nfe"] == 10
    assert engine.describe(checkpoint, params.sample, file, file, 10.126)["nfe"] == 10.13
