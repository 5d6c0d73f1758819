"""Every refusal of the U-Net: the rule, the value, the way out."""

import re

import pytest
import torch

from ddpm.nets.options import Options
from ddpm.nets.unet import UNet

FITTING = {"in_channels": 3, "image_size": 16, "channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [8]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0; choose a positive number"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"channels": -32}, "channels must be at least 1, got -32"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"multipliers": [1, 0]}, "multipliers[1] must be at least 1, got 0"),
        ({"multipliers": []}, "multipliers must name at least one level, got none; [1] is a net of one resolution"),
        ({"num_classes": -1}, "num_classes must not be negative, got -1; 0 is a net without labels"),
        (
            {"image_size": 18, "multipliers": [1, 2, 2]},
            "image_size must be divisible by 4, to be halved between 3 levels, got 18; choose 20, or fewer multipliers",
        ),
        (
            {"image_size": (16, 18), "multipliers": [1, 2, 2]},
            "image_size must be divisible by 4, to be halved between 3 levels, got 18; choose 20, or fewer multipliers",
        ),
        ({"image_size": (16, 0)}, "image_size must be at least 1, got 0"),
        ({"image_size": (8, 16), "attention": [16]}, "attention must be at resolutions of the levels, got 16"),
        ({"channels": 48}, "channels must be divisible by 32, the number of norm groups, got 48; choose 64"),
        ({"attention": [4]}, "attention must be at resolutions of the levels, got 4; choose from [16, 8]"),
        ({"heads": 3}, "heads must divide 64, the width of an attention, got 3; 1 always does"),
        (
            {"multipliers": [1, 3], "heads": 6, "attention": [16]},
            "heads must divide 32, the width of an attention, got 6",
        ),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match="^UNet: " + re.escape(message)) as refusal:
        UNet(**FITTING | changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"linear_attention": [4]},
            "linear_attention must be at resolutions of the levels, got 4; choose from [16, 8]",
        ),
        ({"linear_attention": [16, 8]}, "linear_attention must not be where attention is, got 8 in both; take it out"),
        ({"head_channels": 48}, "head_channels must divide 64, the width of an attention, got 48; 32 always does"),
        ({"head_channels": 64, "linear_attention": [16]}, "head_channels must divide 32, the width of an attention"),
        ({"head_channels": -1}, "head_channels must not be negative, got -1; 0 counts heads"),
        ({"norm_eps": 0.0}, "norm_eps must be positive, got 0.0; Ho et al. (2020) have 1e-6"),
        ({"conditioning": "film"}, "conditioning must be one of add, scale-shift, got film; choose one"),
        ({"resample": "pool"}, "resample must be one of conv, residual, got pool"),
        (
            {"time_features": "none"},
            "time_features must be one of sinusoid, vaswani, fourier, learned-fourier, got none",
        ),
        ({"stem": 5}, "stem must be one of 3, 7, got 5"),
        ({"padding": "reflect"}, "padding must be one of zeros, circular, got reflect"),
        ({"downsample_padding": "same"}, "downsample_padding must be one of asymmetric, symmetric, got same"),
    ],
)
def test_refused_options(changes, message):
    with pytest.raises(ValueError, match="^UNet: " + re.escape(message)):
        UNet(**FITTING, options=Options(**changes))


def test_a_circular_stem_does_not_reach_around_the_image():
    small = {"image_size": 2, "multipliers": [1], "attention": []}
    for size in (2, (16, 2), (2, 16)):
        with pytest.raises(ValueError, match=r"UNet: image_size must be at least 3 for a circular stem of 7, got 2"):
            UNet(**FITTING | small | {"image_size": size}, options=Options(stem=7, padding="circular"))
    for options in (Options(stem=3, padding="circular"), Options(stem=7)):
        assert UNet(**FITTING | small, options=options)(torch.zeros(1, 3, 2, 2), torch.zeros(1)).shape == (1, 3, 2, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": []},
        {"multipliers": [1], "attention": [16]},
        {"multipliers": [1, 3], "heads": 6, "attention": []},
        {"image_size": 18, "attention": [9]},
        {"image_size": 6, "multipliers": [1, 1], "attention": [3, 6], "blocks": 3},
        {"multipliers": [2, 1, 3, 1, 1], "attention": []},
        {"image_size": (8, 6)},
        {"image_size": (16, 4), "multipliers": [1, 1, 1], "attention": [4, 8]},
    ],
)
def test_what_the_rules_allow_runs(changes):
    numbers = FITTING | changes
    with torch.device("meta"):
        net = UNet(**numbers)
        size = numbers["image_size"]
        x_t = torch.empty(2, 3, *((size, size) if isinstance(size, int) else size))
        assert net(x_t, torch.empty(2)).shape == x_t.shape
