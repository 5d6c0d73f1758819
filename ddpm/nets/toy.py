"""A net for points in the plane, small enough to train within seconds."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm.nets.embedding import sinusoid
from ddpm.types import Images, Steps

TIME_WAVES = 32
POINT_WAVES = 4
"""A point is also told as sines and cosines of its coordinates, of periods 4, 2, 1 and 1/2: edges are sharp."""


class ToyNet(nn.Module):
    """A perceptron on points (2 channels of one pixel), with the contract of the U-Net: forward(x_t, t) -> same shape.

    Args:
        width: of each of the three hidden layers.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.enter = nn.Linear(2 + 4 * POINT_WAVES + TIME_WAVES, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.leave = nn.Linear(width, 2)

    def forward(self, x_t: Images, t: Steps) -> Images:
        """Predict the target; (batch, 2, 1, 1) and (batch,) -> (batch, 2, 1, 1)."""
        point = x_t.flatten(1)  # (batch, 2)
        angle = (point[:, :, None] * frequencies(point)).flatten(1)  # (batch, 2 POINT_WAVES)
        h = F.silu(self.enter(torch.cat([point, angle.sin(), angle.cos(), sinusoid(t, TIME_WAVES)], dim=1)))
        for layer in self.hidden:
            h = h + F.silu(layer(h))  # (batch, width)
        output: Tensor = self.leave(h)
        return output[:, :, None, None]


def frequencies(like: Tensor) -> Tensor:
    """pi / 2 times 1, 2, 4, 8."""
    return torch.pi / 2 * 2.0 ** torch.arange(POINT_WAVES, dtype=like.dtype, device=like.device)
