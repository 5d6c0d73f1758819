"""With circular padding the image has no border: the whole net commutes with cyclic shifts."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from ddpm.nets.options import Options
from ddpm.nets.unet import UNet

LEVELS = {
    "convolutions": {},
    "symmetric": {"downsample_padding": "symmetric"},
    "residual": {"resample": "residual", "rescale_residuals": True},
    "wide stem, linear attention": {"stem": 7, "linear_attention": [16, 8]},
    "scale and shift": {"conditioning": "scale-shift", "head_channels": 32},
}
STEP = 4  # pixels of the image in one pixel of the coarsest of three levels


@pytest.fixture
def changed_by_shift(randomize):
    return partial(difference, randomize)


def difference(randomize: Callable, options: Options, shift: tuple[int, int]) -> float:
    """How far the net of the shifted image is from the shifted net of the image."""
    net = randomize(UNet(3, 16, 32, [1, 1, 2], 1, [4], options=options)).double()
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    t = torch.tensor([400])
    return float((net(x.roll(shift, (2, 3)), t) - net(x, t).roll(shift, (2, 3))).detach().abs().max())


@pytest.mark.parametrize("changes", LEVELS.values(), ids=LEVELS.keys())
def test_a_torus_has_no_border(changes, changed_by_shift):
    options = Options(padding="circular", **changes)
    assert changed_by_shift(options, (STEP, 0)) < 1e-10
    assert changed_by_shift(options, (-STEP, 2 * STEP)) < 1e-10


def test_half_a_coarse_pixel_is_no_symmetry(changed_by_shift):
    assert changed_by_shift(Options(padding="circular"), (STEP // 2, 0)) > 1e-2


@pytest.mark.parametrize("changes", LEVELS.values(), ids=LEVELS.keys())
def test_zeros_are_a_border(changes, changed_by_shift):
    assert changed_by_shift(Options(**changes), (STEP, 0)) > 1e-2
