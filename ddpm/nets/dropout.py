"""Dropout whose masks are addressed, not streamed: a mask is a function of (key of the sample, layer, element)."""

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from ddpm.types import Indices

WORD = 0xFFFFFFFF
# The multipliers of Wellons' 32-bit "lowbias32" hash. The second is written minus 2^32, the same modulo 2^32: both lie
# below 2^31 in size, so that no product with a 32-bit word leaves int64, and every device and compiler agrees.
MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
LAYER_STRIDE = 0x9E3779B9  # 2^32 over the golden ratio: consecutive layers land far apart


def mix(word: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """Scramble 32-bit words one to one (xor-shift and multiply, twice); elementwise, in int64, values 0..2^32-1."""
    word = word ^ (word >> 16)
    word = (word * MULTIPLIERS[0]) & WORD
    word = word ^ (word >> 15)
    word = (word * MULTIPLIERS[1]) & WORD
    return word ^ (word >> 16)


class KeyedDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) without a generator, so that batch size, order and device cannot matter.

    x_b[e] -> 0 where mix(mix(e) ^ mix(mix(key_b) + layer_index * stride)) < p 2^32, elsewhere x_b[e] / (1 - p)

    `train()` and `eval()` change nothing: no keys, no dropout.

    Args:
        p: the probability of dropping, in [0, 1).
        layer_index: number of this layer in its net; two layers with one number share their masks.

    Raises:
        ValueError: p lies outside [0, 1).
    """

    def __init__(self, p: float, layer_index: int) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"KeyedDropout: p must be in [0, 1), got {p}; 0 switches dropout off")
        self.p = p
        self.layer_index = layer_index

    def forward(self, x: Tensor, keys: Indices | None) -> Tensor:
        """Drop elements of x.

        Args:
            x: (batch, ...); the mask follows the logical index, so the memory format does not matter.
            keys: (batch,), one random 32-bit number per sample and step (only the low 32 bits count); None: x as it is.
        """
        if keys is None or self.p == 0:
            return x
        # A product, not a choice: its result keeps the memory format of x, and backward needs the boolean mask alone.
        return x * self.keep(keys, x.shape) / (1 - self.p)

    def keep(self, keys: Indices, shape: torch.Size) -> Tensor:
        """The mask, boolean, of the given shape (batch, ...): true where an element is kept."""
        address = mix((mix(keys & WORD) + self.layer_index * LAYER_STRIDE) & WORD)  # (batch,)
        # Hashing the element first scatters it: with e ^ key alone, near keys would give shifted copies of one mask.
        element = mix(torch.arange(shape[1:].numel(), device=keys.device))  # (elements,), shared by the batch
        bits = mix(element[None, :] ^ address[:, None])  # (batch, elements)
        return (bits >= round(self.p * 2**32)).view(shape)

    def extra_repr(self) -> str:
        """What print(net) shows."""
        return f"p={self.p}, layer_index={self.layer_index}"
