"""Two real images mixed on their way through noise: what the figures interpolation and coarse-to-fine share."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm.diffusion.mixing import MIXES
from ddpm.engine.batches import to_pixels
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.reverse import Reverse
from ddpm.figures.material import Material
from ddpm.types import Images, Labels

LABELS_HELP = (
    "What a net with classes is told of a mix; auto: none where it was trained with label dropout, else nearer."
)


class Mixing(NamedTuple):
    """How two images are mixed: fields of the options of both figures.

    Attributes:
        path: how x_t of the two are mixed.
        noise: whether both are noised by one eps, or each by its own.
        labels: what the net is told of the mixes, "" where it has no classes: the label of the nearer source (at 0.5
            of the left one), or none.
        mixes: how many, at even weights from 0 to 1.
    """

    path: Literal["linear", "spherical"]
    noise: Literal["shared", "independent"]
    labels: Literal["", "nearer", "none"]
    mixes: int

    @property
    def weights(self) -> list[float]:
        """Of the right source, from 0 to 1."""
        return [k / (self.mixes - 1) for k in range(self.mixes)]

    @property
    def text(self) -> str:
        """For the line over the picture."""
        way = {"linear": "mixed linearly", "spherical": "mixed on a great circle"}[self.path]
        shrinks = " (std 0.71 midway)" if (self.path, self.noise) == ("linear", "independent") else ""
        told = {"": "", "nearer": ", label of the nearer", "none": ", no label"}[self.labels]
        return f"{way}, {self.noise} noise{shrinks}{told}, denoised. Columns: weight of the right source"


def mixing_for(
    checkpoint: Checkpoint,
    path: Literal["linear", "spherical"],
    noise: Literal["shared", "independent"],
    labels: Literal["auto", "nearer", "none"],
    mixes: int,
) -> Mixing:
    """The mixing that options ask of a checkpoint; `auto` is none where the net was trained with label dropout.

    Raises:
        ValueError: mixes without label are asked of a net that never saw an image without.
    """
    if not checkpoint.model.num_classes:
        return Mixing(path, noise, "", mixes)
    hidden = checkpoint.objective.label_dropout > 0
    if labels == "none" and not hidden:
        raise ValueError("--labels must be nearer or auto for a checkpoint trained without label dropout, got none")
    if labels == "auto":
        return Mixing(path, noise, "none" if hidden else "nearer", mixes)
    return Mixing(path, noise, labels, mixes)


def reverse_for(material: Material, mixing: Mixing) -> Reverse:
    """The sampler of the section `sample`; where the net is told no label, there is nothing to guide."""
    return material.reverse(guidance_scale=1.0) if mixing.labels == "none" else material.reverse()


def mix(
    reverse: Reverse, x0: Images, labels: Labels | None, t: int, row: int, mixing: Mixing, purpose: str
) -> NDArray[np.uint8]:
    """Noise two images to t, mix their x_t at every weight, and denoise the mixes (Ho et al. 2020, section 4.4).

    The sampler's own noise, if it has any, is the same for all mixes of a row: they differ in nothing but the weight.

    Args:
        x0: (2, channels, height, width), left and right.
        labels: (2,) for a net with classes, else None.
        t: 0..T; at 0 the pixels are mixed, and nothing is denoised.
        row: addresses the randomness, together with the purpose.

    Returns:
        The mixes as pixels, (mixes, height, width, channels).
    """
    index = torch.full((mixing.mixes,), row, device=reverse.device)
    own = f"{purpose}: own noise of the right image" if mixing.noise == "independent" else f"{purpose}: noise"
    left = reverse.noised(x0[:1], t, index[:1], f"{purpose}: noise")
    right = reverse.noised(x0[1:], t, index[:1], own)
    x = torch.cat([MIXES[mixing.path](left, right, weight) for weight in mixing.weights])
    if t:
        given = None if labels is None else mix_labels(labels, mixing, reverse.checkpoint.model.num_classes)
        with torch.inference_mode():
            for state in reverse.walk(x, index, given, t=t, purpose=f"{purpose}: reverse noise"):
                x = state.x_s
    pixels: NDArray[np.uint8] = to_pixels(x).cpu().numpy()
    return pixels


def mix_labels(labels: Labels, mixing: Mixing, null_label: int) -> Labels:
    """The label of each mix, (mixes,): that of the nearer source (at 0.5 of the left one), or the null label."""
    if mixing.labels == "none":
        return torch.full((mixing.mixes,), null_label, device=labels.device)
    return torch.stack([labels[0] if weight <= 0.5 else labels[1] for weight in mixing.weights])


def require_pairs(images: Sequence[int]) -> None:
    """Refuse image numbers that are not pairs.

    Raises:
        ValueError: none, or an odd number of them.
    """
    if not images or len(images) % 2:
        raise ValueError(f"--images must name pairs, such as 0,1, got {len(images)} numbers")


def require_time(flag: str, t: int, T: int) -> None:
    """Refuse a step that the process does not have.

    Raises:
        ValueError: t lies beyond T.
    """
    if t > T:
        raise ValueError(f"{flag} must be at most T = {T}, got {t}")
