"""Previews: images as a function of the weights, by the sampler that sampling uses."""

import numpy as np
import pytest
import torch

from ddpm import randomness
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import build_denoiser, build_net, build_predict, build_schedule, build_settings
from ddpm.engine.preview import build_preview
from ddpm.nets.init import init_weights

CPU = torch.device("cpu")
SIX = ("train.preview_images=6", "train.preview_steps=4")
PLAIN = ("model.num_classes=0", "objective.label_dropout=0.0", "sample.guidance_scale=1.0")


def trained(params) -> torch.nn.Module:
    """A net whose output is not zero, as it is at the beginning."""
    net = build_net(params.data, params.model, params.objective)
    init_weights(net, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return net


def preview_of(params, net=None):
    predict = build_predict(net or trained(params), CPU, "float32")
    return build_preview(params, build_schedule(params.schedule, CPU), predict, CPU)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        PLAIN,
        ("objective.self_condition=true",),
        ("objective.variance=learned", "objective.vlb_weight=0.001"),
        ("schedule.zero_terminal_snr=true", "objective.target=v"),
        ("schedule.process=vp", "schedule.kind=cosine"),
        ("schedule.process=sub-vp",),
        ("schedule.process=ve", "objective.target=x0"),
    ],
)
def test_previews_are_what_the_stage_sample_would_draw(tiny, overrides):
    params = tiny(
        *SIX, "sample.eta=0.0", "sample.steps=4", "sample.guidance_scale=1.0", "figures.strip_columns=3", *overrides
    )
    schedule, net, index = build_schedule(params.schedule, CPU), trained(params), torch.arange(6)
    labels = index % 10 if params.model.num_classes else None
    denoise = build_denoiser(net, schedule, params.objective, params.model, params.sample, labels)
    x_T = schedule.prior_scale * randomness.normal(params.train.seed, "preview", 0, index, (1, 8, 8))
    steps = SPACINGS["trailing"](schedule, 4)
    with torch.no_grad():
        states = list(SAMPLERS["ddim"](denoise, schedule, x_T, steps, None, build_settings(params.sample)))
    images = preview_of(params, net)()
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, to_pixels(states[-1].x_s).numpy())
    assert images.std() > 5


def test_they_change_with_the_weights_and_with_nothing_else(tiny):
    params = tiny(*SIX)
    net = trained(params)
    preview = preview_of(params, net)
    first = preview()
    np.testing.assert_array_equal(first, preview())
    with torch.no_grad():
        net.conv_out.weight.mul_(-1)
    assert (preview() != first).mean() > 0.3


def test_a_self_conditioned_net_starts_anew_at_every_call(tiny):
    preview = preview_of(tiny(*SIX, "objective.self_condition=true"))
    np.testing.assert_array_equal(preview(), preview())


def test_a_preview_does_not_depend_on_those_beside_it(tiny):
    few, many = (preview_of(tiny("train.preview_steps=4", f"train.preview_images={count}"))() for count in (3, 12))
    assert many.shape == (12, 8, 8, 1)
    # a unit in the last place of a product may move a pixel to the next level
    np.testing.assert_allclose(many[:3].astype(int), few.astype(int), atol=1)


def test_labels_go_around_the_classes_and_the_net_is_asked_once_a_step(tiny):
    params, seen = tiny("train.preview_images=12", "train.preview_steps=5"), []

    def predict(x_t, t, labels, keys):
        seen.append((int(t[0]), labels.tolist(), keys))
        return torch.zeros_like(x_t)

    build_preview(params, build_schedule(params.schedule, CPU), predict, CPU)()
    assert seen == [(t, [*range(10), 0, 1], None) for t in (20, 16, 12, 8, 4)]


def test_a_net_that_knows_the_data_draws_them(tiny):
    """Of a single image x0 = 0.5 the exact denoiser is known."""
    params = tiny("objective.target=x0", "train.preview_images=3", "train.preview_steps=4")
    schedule = build_schedule(params.schedule, CPU)
    images = build_preview(params, schedule, lambda x_t, *_: torch.full_like(x_t, 0.5), CPU)()
    assert set(images.flatten().tolist()) == {191}
