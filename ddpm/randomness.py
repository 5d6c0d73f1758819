"""Addressed randomness: every random number is a function of where it is used, never of what was drawn before.

Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") maps a 64-bit key and a 128-bit
counter to 128 random bits. Here the key is (seed, purpose) and the counter (step, index, block), so that a draw does
not depend on the batch it is in, on the number of devices, or on a crash in between (contract 3).
"""

import math
import zlib

import torch
from torch import Tensor

from ddpm.types import Indices

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Ten rounds of Philox 4x32 on int64 tensors that hold 32-bit words (Salmon et al. 2011, section 3.3).

    Args:
        counter: four words, each 0..2^32-1, of broadcastable shapes.
        key: two words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, which keeps the bits; the mask makes the arithmetic shift a logical one.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def words(seed: int, purpose: str, step: int | Tensor, index: Indices, num_words: int) -> Tensor:
    """Random 32-bit words of shape (batch, num_words) as int64, addressed by (seed, purpose, step, index).

    Args:
        seed: 0..2^32-1, one per stage.
        purpose: what the numbers are for ("noise", "time", ...): distinct purposes are independent.
        step: training step or sampling step, 0..2^32-1.
        index: (batch,), global sample numbers 0..2^63-1.
    """
    key = (seed & _MASK, zlib.crc32(purpose.encode()))
    index = index.reshape(-1, 1)
    block = torch.arange((num_words + 3) // 4, device=index.device).reshape(1, -1)
    # filled on the device: copying a number there would wait for it
    place = step if isinstance(step, Tensor) else torch.full((), step, dtype=torch.int64, device=index.device)
    counter = (block, index & _MASK, index >> 32, place)
    return torch.stack(philox(counter, key), dim=-1).reshape(len(index), -1)[:, :num_words]


def uniform(seed: int, purpose: str, step: int | Tensor, index: Indices, num_draws: int) -> Tensor:
    """Uniform float64 numbers in the open interval (0, 1), of shape (batch, num_draws)."""
    return (words(seed, purpose, step, index, num_draws).double() + 0.5) * 2.0**-32


def normal(seed: int, purpose: str, step: int | Tensor, index: Indices, shape: tuple[int, ...]) -> Tensor:
    """Unit normal float32 numbers of shape (batch, *shape) by Box and Muller (1958).

    Computed in float64: rounding to float32 then hides the last bit in which vectorized and scalar code may differ,
    so an image's noise does not depend on its place in the batch. Values end at 6.8 standard deviations.
    """
    num_draws = math.prod(shape)
    num_pairs = (num_draws + 1) // 2
    draws = uniform(seed, purpose, step, index, 2 * num_pairs)
    radius = torch.sqrt(-2.0 * torch.log(draws[:, :num_pairs]))
    angle = 2.0 * math.pi * draws[:, num_pairs:]
    both = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return both[:, :num_draws].float().reshape(len(index), *shape)


def integers(seed: int, purpose: str, step: int | Tensor, index: Indices, low: int, high: int) -> Tensor:
    """One integer of low..high (both included) per sample, (batch,) int64; bias below 2^-22 for spans below 1024."""
    span = high - low + 1
    return low + ((words(seed, purpose, step, index, 1)[:, 0] * span) >> 32)


def permutation(seed: int, purpose: str, epoch: int, num_items: int) -> Tensor:
    """A random order of 0..num_items-1 for one epoch (sort by random 64-bit keys), int64 on the CPU."""
    draws = words(seed, purpose, epoch, torch.arange(num_items), 2)
    return torch.argsort(((draws[:, 0] >> 1) << 32) | draws[:, 1], stable=True)
