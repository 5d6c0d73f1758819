"""Initial weights: those of Ho et al. (2020), each tensor a function of (seed, its name)."""

import hashlib
import math
from itertools import chain

import torch
from torch import nn

from ddpm.nets.embedding import FOURIER_SCALE

ZERO_SCALE = 1e-10
ZERO_LAYERS = ("conv_2", "projection", "conv_out")
"""The last layer of every residual branch and of the net: Ho et al. call them zero and scale them by 1e-10."""


def init_weights(net: nn.Module, seed: int) -> None:
    """Draw Xavier uniform weights (Glorot & Bengio 2010; fan average), near-zero last layers; biases 0, norms 1.

    weight ~ U(-a, a), a = scale sqrt(6 / (fan_in + fan_out)); scale 1e-10 for `ZERO_LAYERS`, otherwise 1

    The frequencies of Fourier features, trained or not, are drawn from N(0, 16^2) (Song et al. 2021, appendix D).

    Every tensor has a generator of its own, addressed by (seed, name), on the CPU and in float32: neither the device,
    nor another layer, nor the global generator changes it. Tensors on the meta device are passed over.
    """
    with torch.no_grad():
        for name, tensor in chain(net.named_parameters(), net.named_buffers()):
            if tensor.is_meta:
                continue
            if name.endswith("frequencies"):
                tensor.copy_(FOURIER_SCALE * torch.randn(tensor.shape, device="cpu", generator=generator(seed, name)))
            elif name.endswith("bias"):
                tensor.zero_()
            elif tensor.ndim == 1:  # the gain of a norm
                tensor.fill_(1)
            else:
                tensor.copy_(xavier_uniform(tensor.shape, seed, name))


def xavier_uniform(shape: torch.Size, seed: int, name: str) -> torch.Tensor:
    """The weight called `name`, float32 on the CPU; shape (out, in) or (out, in, height, width)."""
    window = shape[2:].numel()
    scale = ZERO_SCALE if name.split(".")[-2] in ZERO_LAYERS else 1.0
    bound = scale * math.sqrt(6 / ((shape[0] + shape[1]) * window))
    return torch.empty(shape, device="cpu").uniform_(-bound, bound, generator=generator(seed, name))


def generator(seed: int, name: str) -> torch.Generator:
    """The generator of the tensor called `name`, on the CPU."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
