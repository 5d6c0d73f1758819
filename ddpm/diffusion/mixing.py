"""Ways from one image or noise to another: straight, or along a great circle."""

from collections.abc import Callable

import torch

from ddpm.types import Images

PARALLEL = 1e-4
"""Radians below which a great circle is a straight line to within float32."""


def linear(x: Images, y: Images, weight: float) -> Images:
    """(1 - w) x + w y (Ho et al. 2020, section 4.4).

    Of independent noise the standard deviation shrinks on the way, to sqrt((1 - w)^2 + w^2): 0.71 in the middle.
    """
    return (1 - weight) * x + weight * y


def spherical(x: Images, y: Images, weight: float) -> Images:
    """(sin((1 - w) a) x + sin(w a) y) / sin(a), a the angle between the two (Song et al. 2021, DDIM, app. D.5).

    Each pair of images has an angle of its own. Between two of one length all have this length, so independent noise
    keeps its standard deviation. Where x and y are parallel this is `linear`, its limit.

    Args:
        x, y: (batch, channels, height, width), not all zero, and y not opposite to x: then no circle is the shortest.
        weight: 0 gives x, 1 gives y.
    """
    a, b = x.flatten(1).double(), y.flatten(1).double()
    cosine = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    angle = cosine.clamp(-1, 1).acos()
    parallel = angle < PARALLEL
    safe = torch.where(parallel, 1.0, angle)
    shares = [
        torch.where(parallel, share, torch.sin(share * safe) / torch.sin(safe)).to(x.dtype).reshape(-1, 1, 1, 1)
        for share in (1 - weight, weight)
    ]
    return shares[0] * x + shares[1] * y


MIXES: dict[str, Callable[[Images, Images, float], Images]] = {"linear": linear, "spherical": spherical}
"""Option --path of the figures that mix -> function of (x, y, weight of y)."""
