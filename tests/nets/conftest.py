"""One tiny net of each kind, with weights that leave no branch near zero, and a batch for it."""

from collections.abc import Callable

import pytest
import torch

from ddpm.nets.unet import UNet

SIZE, CLASSES = 16, 3


def randomize(net: torch.nn.Module) -> torch.nn.Module:
    """Weights of order one per fan-in everywhere: the published initialization would hide most of the net."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = max(1, parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return net


@pytest.fixture(scope="session", name="randomize")
def randomize_fixture() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """`randomize`, for nets that a test builds itself."""
    return randomize


@pytest.fixture(scope="session")
def net() -> UNet:
    """Two levels, attention on both, two heads, dropout, no labels."""
    return randomize(UNet(3, SIZE, 32, [1, 2], 1, [SIZE, SIZE // 2], heads=2, dropout=0.5))


@pytest.fixture(scope="session")
def labeled_net() -> UNet:
    """The same for three classes, without dropout, and twice as wide."""
    return randomize(UNet(3, SIZE, 64, [1, 2], 1, [SIZE // 2], num_classes=CLASSES))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four images and their times."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(4, 3, SIZE, SIZE, generator=generator), torch.tensor([0, 1, 500, 999])
