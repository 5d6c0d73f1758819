"""Dropout whose masks are addressed, not streamed: a mask is a function of (key of the sample, layer, element)."""

from functools import lru_cache

import torch
from jaxtyping import Int32, Int64
from torch import Tensor, nn

from ddpm.types import Indices

WORD = 0xFFFFFFFF
# The multipliers of Wellons' 32-bit "lowbias32" hash. The second is written minus 2^32, the same modulo 2^32: both lie
# below 2^31 in size, so that no product with a 32-bit word leaves int64, and every device and compiler agrees.
MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
LAYER_STRIDE = 0x9E3779B9  # 2^32 over the golden ratio: consecutive layers land far apart
OFFSET_STRIDE = 0x85EBCA6B  # another odd number, so that multiplier and offset of a sample are two different words


def mix(word: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """Scramble 32-bit words one to one (xor-shift and multiply, twice); elementwise, in int64, values 0..2^32-1."""
    word = word ^ (word >> 16)
    word = (word * MULTIPLIERS[0]) & WORD
    word = word ^ (word >> 15)
    word = (word * MULTIPLIERS[1]) & WORD
    return word ^ (word >> 16)


def signed(word: Int64[Tensor, "*shape"]) -> Int32[Tensor, "*shape"]:
    """The same 32 bits as int32, whose products wrap modulo 2^32."""
    return (((word + 2**31) & WORD) - 2**31).to(torch.int32)


class KeyedDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) without a generator, so that batch size, order and device cannot matter.

    x_b[e] -> 0 where a_b h_e + c_b mod 2^32 < p 2^32, elsewhere x_b[e] / (1 - p)

    h_e = mix(e) is the hash of the element; a_b (odd) and c_b are hashes of the sample's key and the layer. Over the
    keys, the draws of two elements are independent but for rare pairs (multiply-shift hashing, Dietzfelbinger 1996):
    one product per element, where a full hash would cost ten operations, half as much as the rest of a training step on
    a CPU. It is linear: elements with h_1 + h_3 = 2 h_2 modulo 2^32, one triple in 10^8, have such draws in every mask.

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
        # A product, not a choice: its result keeps the memory format of x, and backward needs the mask of bytes alone;
        # as numbers, since a CPU multiplies with them twice as fast as with truth values.
        return (x * self.keep(keys, x).view(torch.int8)).mul_(1 / (1 - self.p))

    def keep(self, keys: Indices, x: Tensor) -> Tensor:
        """The mask, boolean, of the shape and memory format of x: true where an element is kept."""
        address = mix((mix(keys & WORD) + self.layer_index * LAYER_STRIDE) & WORD)  # (batch,)
        place = (len(keys),) + (1,) * (x.dim() - 1)
        a, c = signed(address | 1).view(place), signed(mix(address ^ OFFSET_STRIDE)).view(place)
        channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        hashed = elements if torch.compiler.is_compiling() else cached_elements  # compilers look through no cache
        draws = (hashed(x.shape[1:], channels_last, x.device) * a).add_(c)
        return draws >= min(round(self.p * 2**32), WORD) - 2**31

    def extra_repr(self) -> str:
        """What print(net) shows."""
        return f"p={self.p}, layer_index={self.layer_index}"


def elements(shape: torch.Size, channels_last: bool, device: torch.device) -> Int32[Tensor, " 1 *shape"]:
    """The hash of every element's logical index, laid out in memory as the images are."""
    words = signed(mix(torch.arange(shape.numel(), device=device))).view(1, *shape)
    return words.contiguous(memory_format=torch.channels_last) if channels_last else words


cached_elements = lru_cache(maxsize=64)(elements)
