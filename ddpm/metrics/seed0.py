"""The network input of KimRass/DDPM, whose range is wrong: numbers made with it stand under a label of their own.

Its evaluation scales images to [-1, 1] and hands them to a network that expects [0, 1] and maps that to [-1, 1].
"""

from torch import Tensor
from torch.nn import functional as F

from ddpm.metrics.images import INCEPTION_SIDE


def seed0_input(x: Tensor) -> Tensor:
    """Resize and scale as KimRass/DDPM does before its FID; `pytorch_input` is what was meant.

    2 resize(x / 127.5 - 1) - 1, resized by `F.interpolate`, bilinear with half-pixel centers.

    Args:
        x: (batch, 3, height, width), 0..255, float32.

    Returns:
        (batch, 3, 299, 299), in [-3, 1].
    """
    size = (INCEPTION_SIDE, INCEPTION_SIDE)
    return 2.0 * F.interpolate(x / 127.5 - 1.0, size=size, mode="bilinear", align_corners=False) - 1.0
