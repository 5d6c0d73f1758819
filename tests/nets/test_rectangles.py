"""Images that are not square: the same weights, and the same numbers where the mathematics says so."""

import pytest
import torch

from ddpm.nets.cost import count_macs
from ddpm.nets.options import Options
from ddpm.nets.unet import UNet

EVERYWHERE = {"attention": [8, 4], "options": Options(padding="circular", stem=7)}
T = torch.tensor([0, 500])


def net_for(size, randomize, **changes):
    settings = {"attention": [size[0] // 2], "options": Options()} | changes
    return randomize(UNet(3, size, 32, [1, 2], 1, heads=2, **settings))


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("options", [Options(), Options(resample="residual", conditioning="scale-shift", stem=7)])
@pytest.mark.parametrize("size", [(8, 16), (16, 8), (4, 18)])
def test_output_has_the_shape_of_the_image(size, options, randomize):
    x = images(2, 3, *size)
    y = net_for(size, randomize, options=options)(x, T)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert y.std() > 0.1


@pytest.mark.parametrize("axis", [2, 3])
def test_a_torus_twice_as_long_gives_the_output_twice(axis, randomize):
    """With circular padding nothing tells two copies from one: not convolution, norm or attention, nor their steps."""
    x = images(2, 3, 8, 8)
    long = (16, 8) if axis == 2 else (8, 16)
    settings = EVERYWHERE | {"attention": [long[0], long[0] // 2]}
    once = net_for((8, 8), randomize, **EVERYWHERE)(x, T)
    twice = net_for(long, randomize, **settings)(torch.cat([x, x], dim=axis), T)
    torch.testing.assert_close(twice, torch.cat([once, once], dim=axis), rtol=1e-3, atol=1e-4)


def test_one_number_is_a_square():
    x = images(2, 3, 8, 8)
    one, two = (UNet(3, size, 32, [1, 2], 1, [4]) for size in (8, (8, 8)))
    assert one.image_size == two.image_size == (8, 8)
    assert torch.equal(one(x, T), two(x, T))


def test_attention_is_named_by_the_height():
    with torch.device("meta"):
        net = UNet(3, (8, 16), 32, [1, 2], 1, [8])
    kinds = [type(level.attentions[0]).__name__ for level in net.down]
    assert kinds == ["Attention", "Identity"]


def test_weights_do_not_depend_on_the_width():
    with torch.device("meta"):
        shapes = [
            {name: tensor.shape for name, tensor in UNet(3, size, 32, [1, 2], 1, [4]).state_dict().items()}
            for size in (8, (8, 16))
        ]
    assert shapes[0] == shapes[1]


def test_an_image_lying_on_its_side_is_refused(randomize):
    with pytest.raises(ValueError, match=r"x_t must be \(batch, 3, 8, 16\), got \(2, 3, 16, 8\); resize or rebuild"):
        net_for((8, 16), randomize)(images(2, 3, 16, 8), T)


def test_cost_is_that_of_all_pixels():
    with torch.device("meta"):
        square, wide, tall = (count_macs(UNet(3, size, 32, [1, 2], 1, [])) for size in (8, (8, 16), (16, 8)))
    assert wide == tall
    assert 1.9 * square < wide < 2.2 * square  # attention costs more than twice, the embedding once
