"""Sampling: images by address, whatever the batch or an interruption, and evaluations that were really counted."""

import hashlib

import numpy as np
import pytest
import torch

from ddpm.diffusion.samplers import SAMPLERS
from ddpm.engine import sample as engine
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.distributed import alone
from ddpm.engine.sample_manifest import describe

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


def draw(params, folder, tick=lambda count: None, chosen=None):
    folder.mkdir(exist_ok=True)
    return engine.sample_images(random_checkpoint(params), params.sample, folder, alone(CPU), tick, chosen)


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


BLOCK = 4


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 images of 8x8, so that a dozen images has several."""
    monkeypatch.setattr(engine, "CPU_BLOCK_IMAGES", BLOCK)


MODES = [
    *(f"sample.sampler={sampler}" for sampler in sorted(SAMPLERS)),
    "sample.guidance_scale=1.0",
    "sample.precision=bf16",
    "objective.self_condition=true",
]


@pytest.mark.filterwarnings("ignore:precision bf16")
@pytest.mark.parametrize("mode", MODES)
def test_neither_batch_nor_range_changes_a_byte(mode, small_blocks, tiny, tmp_path):
    options = (mode, "sample.tolerance=0.1", "sample.churn=2.0", "sample.eta=0.5")
    whole = draw(tiny(*options, "sample.batch=64"), tmp_path / "whole")
    images = np.load(whole.path)
    for batch in (1, 7):
        drawn = draw(tiny(*options, f"sample.batch={batch}"), tmp_path / str(batch))
        assert drawn.path.read_bytes() == whole.path.read_bytes()
        assert drawn[1:] == whole[1:]
    evaluations = 0
    for first, last in ((0, 3), (3, 10), (10, 12)):
        drawn = draw(tiny(*options), tmp_path / f"from {first}", chosen=(first, last))
        assert (np.load(drawn.path) == images[first:last]).all()
        evaluations += drawn.evaluations
    assert evaluations == whole.evaluations == whole.nfe * NUM_IMAGES


def test_images_of_one_block_are_computed_together_always(small_blocks, tiny, tmp_path, monkeypatch):
    """What makes the bytes equal: the same shapes at the same places, also where nobody asked for the images."""
    asked = []
    real = engine.trajectories

    def record(*arguments):
        start = real(*arguments)
        return lambda index: (asked.append(index.tolist()), start(index))[1]

    monkeypatch.setattr(engine, "trajectories", record)
    draw(tiny("sample.batch=1"), tmp_path / "one", chosen=(5, 6))
    draw(tiny("sample.batch=5"), tmp_path / "more", chosen=(2, 12))
    assert asked == [[4, 5, 6, 7], *([first, first + 1, first + 2, first + 3] for first in (0, 4, 8))]


@pytest.mark.parametrize(
    ("image_size", "images"), [(4, 64), (8, 64), (16, 64), (32, 16), (64, 4), (100, 1), (128, 1), (1024, 1)]
)
def test_the_block_follows_from_the_image_on_a_cpu_and_from_the_batch_elsewhere(image_size, images):
    assert {engine.block_images(image_size, image_size, batch, CPU) for batch in (1, 7, 500)} == {images}
    assert engine.block_images(image_size, image_size, 7, torch.device("cuda")) == 7


@pytest.mark.filterwarnings("ignore:precision bf16")
@pytest.mark.parametrize(
    "options", [(), ("model.time_features=learned-fourier", "model.padding=circular", "model.conditioning=scale-shift")]
)
def test_weights_rounded_once_draw_what_autocast_draws(options, tiny, tmp_path, monkeypatch):
    params = tiny("sample.precision=bf16", "model.resample=residual", "model.linear_attention=[8]", *options)
    checkpoint = random_checkpoint(params)
    weights = {name: value.clone() for name, value in checkpoint.weights.items()}

    def drawn(name):
        (tmp_path / name).mkdir()
        path = engine.sample_images(checkpoint, params.sample, tmp_path / name, alone(CPU), lambda count: None).path
        return path.read_bytes()

    rounded = []
    real = engine.narrow
    monkeypatch.setattr(engine, "narrow", lambda *arguments: (rounded.append(1), real(*arguments)))
    once = drawn("once")
    assert rounded
    assert all(torch.equal(weights[name], value) for name, value in checkpoint.weights.items())
    monkeypatch.setattr(engine, "narrow", lambda net, dtype: None)
    assert drawn("always") == once


def test_only_what_autocast_would_round_is_rounded(tiny):
    net = random_checkpoint(tiny()).build(CPU)
    engine.narrow(net, torch.bfloat16)
    kinds = {name.rpartition(".")[0]: value.dtype for name, value in net.named_parameters()}
    assert kinds["conv_in"] == kinds["middle_attention.query"] == torch.bfloat16
    assert kinds["norm_out"] == kinds["label_embedding"] == torch.float32


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_an_interrupted_sampling_goes_on_and_counts_on(sampler, small_blocks, tiny, tmp_path):
    params, done = tiny(f"sample.sampler={sampler}", "sample.batch=3"), []

    def stop_after_two(count):
        done.append(count)
        if len(done) == 3:  # the first call says what an earlier run had done
            raise KeyboardInterrupt

    whole = draw(params, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        draw(params, tmp_path / "cut", stop_after_two)
    assert done == [0, 4, 4]
    counts = np.load(tmp_path / "cut" / "evaluations.npy")
    assert (counts > 0).tolist() == [True, True, False]
    done.clear()
    cut = draw(params, tmp_path / "cut", done.append)
    assert done == [8, 4]
    assert (cut.nfe, cut.evaluations) == (whole.nfe, whole.evaluations)
    assert (whole.new_images, whole.new_evaluations) == (12, whole.evaluations)
    assert (cut.new_images, cut.new_evaluations) == (4, whole.evaluations // 3)
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


@pytest.mark.parametrize(("evaluations", "nfe"), [(120, 10), (121, 10.08), (127, 10.58)])
def test_the_manifest_tells_what_was_counted(evaluations, nfe, tiny, tmp_path):
    params, checkpoint = tiny(), random_checkpoint(tiny())
    for name in ("images.npy", "labels.npy", "weights"):
        (tmp_path / name).write_bytes(name.encode())
    found = describe(checkpoint, params.sample, tmp_path / "weights", tmp_path, evaluations)
    assert (found["nfe"], found["evaluations"], found["num_images"], found["range"]) == (nfe, evaluations, 12, [0, 12])
    assert found["images_sha256"] == hashlib.sha256(b"images.npy").hexdigest()
    assert found["labels_sha256"] == hashlib.sha256(b"labels.npy").hexdigest()
    assert found["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert set(found["sample"]) == set(type(params.sample).model_fields) - {"batch", "compile"}
    part = describe(checkpoint, params.sample, tmp_path / "weights", tmp_path, 50, (3, 8))
    assert (part["nfe"], part["num_images"], part["range"]) == (10, 5, [3, 8])
