"""Tensor aliases: the shape and the range of what passes between the rooms.

They are read by people and by the type checker; the shapes themselves are not checked while the program runs.
"""

from typing import TypeAlias

from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

Images: TypeAlias = Float[Tensor, "batch channels height width"]
"""Images, noise or network outputs; clean images lie in [-1, 1]."""

Steps: TypeAlias = Int[Tensor, " batch"]
"""Noising steps done, one per image: 0 is data, 1..T is noisy."""

Labels: TypeAlias = Int64[Tensor, " batch"]
"""Class numbers 0..num_classes-1; num_classes itself is the null label of an unconditional pass."""

Indices: TypeAlias = Int64[Tensor, " batch"]
"""Global sample numbers: what addressed randomness is a function of."""

Pixels: TypeAlias = UInt8[Tensor, "batch height width channels"]
"""Images as they are stored and shown, 0..255."""
