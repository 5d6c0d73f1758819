"""Exported folders in the hands of diffusers: the same images from the same noise; and back again."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

from ddpm import randomness
from ddpm.diffusion.schedule import SCHEDULES, zero_terminal_snr
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.export import export_diffusers
from ddpm.engine.interop import import_checkpoint
from ddpm.engine.sample import trajectories
from ddpm.engine.sections import betas
from ddpm.interop.diffusers_scheduler import chain_from

CPU = torch.device("cpu")
STEPS, SEED = 10, 3


@pytest.fixture
def checkpoint(kit, params):
    """A tiny net without labels, of weights that matter."""
    data = params.data.model_copy(update={"image_size": 8, "channels": 3})
    tiny = {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [4], "num_classes": 0, "dropout": 0.2}
    model, objective = params.model.model_copy(update=tiny), params.objective.model_copy(update={"label_dropout": 0.0})
    net = kit.randomize(build_net(data, model, objective))
    return Checkpoint(data, params.schedule, model, objective, step=600, weights=dict(net.state_dict()))


def of_width(checkpoint, width):
    """The same weights for other images."""
    return replace(checkpoint, data=checkpoint.data.model_copy(update={"image_width": width}))


def of_learned_variance(kit, checkpoint):
    objective = checkpoint.objective.model_copy(update={"variance": "learned", "vlb_weight": 0.001})
    net = kit.randomize(build_net(checkpoint.data, checkpoint.model, objective))
    return replace(checkpoint, objective=objective, weights=dict(net.state_dict()))


def drawn_here(checkpoint, sample):
    """The images of our sampler, 0..1."""
    with torch.inference_mode():
        for state in trajectories(checkpoint, sample, SEED, CPU)(torch.arange(2)):
            last = state.x_s
    return (last / 2 + 0.5).clamp(0, 1)


def drawn_there(kit, folder, monkeypatch, width=8):
    """The images of DDPMPipeline, which asks for its noise in the order x_T, noise of step 0, 1, ..."""
    index, shape = torch.arange(2), (3, 8, width)
    noise = [randomness.normal(SEED, "x_T", 0, index, shape)]
    noise += [randomness.normal(SEED, "reverse noise", k, index, shape) for k in range(STEPS)]
    for module in ("pipelines.ddpm.pipeline_ddpm", "schedulers.scheduling_ddpm"):
        place = importlib.import_module(f"diffusers.{module}")
        monkeypatch.setattr(place, "randn_tensor", lambda *_, **__: noise.pop(0))
    pipeline = kit.DDPMPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=2, num_inference_steps=STEPS, output_type="pt").images
    # Their last step draws noise unless it begins at the very first step of the chain; trailing steps do not.
    assert len(noise) == (0 if pipeline.scheduler.config.timestep_spacing == "trailing" else 1)
    return images


@pytest.mark.parametrize(
    ("schedule", "target", "settings"),
    [
        ({}, "eps", {"variance": "fixed_large", "spacing": "uniform"}),
        ({}, "eps", {"variance": "fixed_small", "spacing": "trailing", "clip_x0": False}),
        ({}, "eps", {"clip_x0": False, "dynamic_threshold": 0.9, "spacing": "uniform"}),
        ({"kind": "quadratic", "beta_T": 0.012}, "x0", {}),
        ({"kind": "cosine"}, "v", {"variance": "fixed_large", "spacing": "uniform"}),
        ({"kind": "sigmoid", "T": 500}, "v", {}),
        ({"T": 500, "rescale": True}, "eps", {}),
        ({"zero_terminal_snr": True}, "v", {}),
        ({}, "learned", {"variance": "learned", "spacing": "uniform"}),
    ],
    ids=str,
)
def test_the_pipeline_of_diffusers_draws_our_images(
    kit, params, checkpoint, tmp_path, monkeypatch, schedule, target, settings
):
    if target == "learned":
        checkpoint = of_learned_variance(kit, checkpoint)
        for name in ("conv_out.weight", "conv_out.bias"):  # beyond its bounds, ours would be held and theirs not
            checkpoint.weights[name][checkpoint.data.channels :] *= 0.2
    else:
        checkpoint = replace(checkpoint, objective=checkpoint.objective.model_copy(update={"target": target}))
    checkpoint = replace(checkpoint, schedule=checkpoint.schedule.model_copy(update=schedule))
    ours = {"sampler": "ddpm", "steps": STEPS, "guidance_scale": 1.0, "spacing": "trailing"} | settings
    sample = params.sample.model_copy(update=ours)
    export_diffusers(checkpoint, sample, tmp_path)
    theirs = drawn_there(kit, tmp_path, monkeypatch)
    kit.assert_alike(drawn_here(checkpoint, sample), theirs, tolerance=1e-4)

    found = import_checkpoint(tmp_path, "auto", "ema", None, params)
    assert {key: value for key, value in found.sampling.items() if key != "steps"} == {
        key: getattr(sample, key) for key in found.sampling if key != "steps"
    }
    assert (found.checkpoint.schedule, found.checkpoint.objective) == (checkpoint.schedule, checkpoint.objective)


def test_the_pipeline_of_diffusers_draws_our_images_that_are_not_square(kit, params, checkpoint, tmp_path, monkeypatch):
    wide = of_width(checkpoint, 16)
    ours = {"sampler": "ddpm", "steps": STEPS, "guidance_scale": 1.0, "spacing": "trailing"}
    sample = params.sample.model_copy(update=ours)
    export_diffusers(wide, sample, tmp_path)
    images = drawn_here(wide, sample)
    assert images.shape == (2, 3, 8, 16)
    kit.assert_alike(images, drawn_there(kit, tmp_path, monkeypatch, width=16), tolerance=1e-4)
    assert json.loads((tmp_path / "unet/config.json").read_text())["sample_size"] == [8, 16]


@pytest.mark.parametrize("width", [0, 8, 16])
def test_export_and_import_give_back_the_width(params, checkpoint, tmp_path, width):
    before = of_width(checkpoint, width)
    export_diffusers(before, params.sample, tmp_path)
    after = import_checkpoint(tmp_path, "auto", "ema", None, params).checkpoint
    assert replace(after, weights={}) == replace(before, weights={})


@pytest.mark.parametrize(
    "model",
    [{}, {"num_classes": 4}, {"heads": 2}, {"head_channels": 32, "attention": [8, 4]}],
    ids=str,
)
def test_export_and_import_give_back_every_weight_and_every_section(kit, params, checkpoint, tmp_path, model):
    model = checkpoint.model.model_copy(update=model)
    net = kit.randomize(build_net(checkpoint.data, model, checkpoint.objective))
    before = replace(checkpoint, model=model, weights=dict(net.state_dict()))
    export_diffusers(before, params.sample, tmp_path)
    after = import_checkpoint(tmp_path, "auto", "ema", None, params).checkpoint
    assert replace(after, weights={}) == replace(before, weights={})
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], tensor) for name, tensor in before.weights.items())


def test_an_exported_folder_that_was_edited_is_not_taken_for_ours(params, checkpoint, tmp_path):
    export_diffusers(checkpoint, params.sample, tmp_path)
    how_to_draw = tmp_path / "scheduler/scheduler_config.json"
    for path, key, value in ((tmp_path / "unet/config.json", "norm_eps", 0.001), (how_to_draw, "beta_end", 0.5)):
        text = path.read_text()
        path.write_text(json.dumps(json.loads(text) | {key: value}))
        with pytest.raises(ValueError, match=rf"must be as it was exported .* got a changed {path.name}"):
            import_checkpoint(tmp_path, "auto", "ema", None, params)
        path.write_text(text)
    how_to_draw.write_text(json.dumps(json.loads(how_to_draw.read_text()) | {"variance_type": "fixed_large"}))
    assert import_checkpoint(tmp_path, "auto", "ema", None, params).sampling["variance"] == "fixed_large"


@pytest.mark.parametrize(
    ("section", "settings", "words"),
    [
        ("model", {"linear_attention": [8]}, r"model\.linear_attention must be \[\] to be exported, got \[8\]"),
        ("model", {"resample": "residual"}, r'model\.resample must be "conv" to be exported, got "residual"'),
        ("model", {"rescale_residuals": True}, r"model\.rescale_residuals must be false to be exported, got true"),
        ("model", {"time_features": "fourier"}, r'model\.time_features must be "sinusoid" or "vaswani"'),
        ("model", {"stem": 7}, r"model\.stem must be 3"),
        ("model", {"padding": "circular"}, r'model\.padding must be "zeros"'),
        ("model", {"heads": 2, "attention": [8, 4]}, r"model\.heads must be 1 .* got 2 heads for \[32, 64\] channels"),
        ("objective", {"self_condition": True}, r"objective\.self_condition must be false"),
        ("objective", {"target": "score"}, r"objective\.target must be eps or x0 or v to be exported, got score"),
        ("schedule", {"process": "sub-vp"}, r"schedule\.process must be chain .* got sub-vp"),
        ("schedule", {"process": "ve"}, r"schedule\.process must be chain .* got ve"),
    ],
    ids=str,
)
def test_what_diffusers_cannot_express_is_refused_before_anything_is_written(
    params, checkpoint, tmp_path, section, settings, words
):
    changed = replace(checkpoint, **{section: getattr(checkpoint, section).model_copy(update=settings)})
    with pytest.raises(ValueError, match=words):
        export_diffusers(changed, params.sample, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_spacing_that_diffusers_lacks_is_refused(params, checkpoint, tmp_path):
    karras = params.sample.model_copy(update={"spacing": "karras"})
    with pytest.raises(ValueError, match=r"sample\.spacing must be uniform or trailing to be exported, got karras"):
        export_diffusers(checkpoint, karras, tmp_path)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    ("theirs", "kind", "beta_T"),
    [("linear", "linear", 0.02), ("scaled_linear", "quadratic", 0.012), ("squaredcos_cap_v2", "cosine", 0.02)],
)
def test_their_schedules_are_ours(kit, params, theirs, kind, beta_T, zero):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule=theirs, beta_end=beta_T, rescale_betas_zero_snr=zero)
    chain = chain_from(dict(scheduler.config) | {"prediction_type": "v_prediction"}, betas, "scheduler_config.json")
    assert (chain.kind, chain.zero_terminal_snr) == (kind, zero)
    table = SCHEDULES[chain.kind](chain.T, chain.beta_1, chain.beta_T)
    ours = (zero_terminal_snr(table) if zero else table).alpha_bar[1:]
    torch.testing.assert_close(scheduler.alphas_cumprod.double(), ours, rtol=2e-3, atol=1e-7)
