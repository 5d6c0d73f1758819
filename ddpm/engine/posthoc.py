"""Any average of the weights after training, put together from a few that were kept (Karras et al. 2024, sec. 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm.engine.averages import power_gamma
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint

SECTIONS = ("data", "schedule", "model", "objective")
"""What all checkpoints of one training have in common."""


@dataclass(frozen=True)
class Profile:
    """How much the weights of step t count in an average: (gamma + 1) t^gamma / step^(gamma + 1) for 0 <= t <= step.

    Attributes:
        width: relative width sigma_rel, in (0, 0.28); gamma follows from it.
        step: optimizer steps averaged over, at least 1.
    """

    width: float
    step: int


@dataclass(frozen=True)
class Snapshot:
    """A stored average: where it is, its profile, and its checkpoint without the weights."""

    path: Path
    profile: Profile
    about: Checkpoint


@dataclass(frozen=True)
class Solution:
    """Factors of the snapshots, and the part of the target profile that they cannot express (0: none, 1: all)."""

    factors: NDArray[np.float64]
    residual: float


def inner_product(a: Profile, b: Profile) -> float:
    """The integral over t of the product of two profiles (Karras et al. 2024, eq. 151), in 1 / steps."""
    if a.step > b.step:
        a, b = b, a
    gamma_a, gamma_b = power_gamma(a.width), power_gamma(b.width)
    overlap = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return float(overlap * (a.step / b.step) ** gamma_b / b.step)


def solve(stored: Sequence[Profile], target: Profile) -> Solution:
    """The combination of stored profiles that is nearest to the target in least squares (algorithm 3), of sum 1.

    Minimizes |sum_i f_i p_i - p|^2, whose normal equations are A f = b with A_ij = <p_i, p_j> and b_i = <p_i, p>. They
    are solved in float64 for profiles scaled to length 1: raw ones differ in length by the root of their steps. Factors
    add up to 1, so that a weight that training left alone comes out as it is. The authors' code divides by the sum
    afterwards; here it is a condition of the minimum, which is nearer.

    Raises:
        ValueError: a width is out of range.
    """
    length = np.array([inner_product(p, p) for p in stored]) ** 0.5
    target_length = inner_product(target, target) ** 0.5
    gram = np.array([[inner_product(p, q) for q in stored] for p in stored]) / np.outer(length, length)
    right = np.array([inner_product(p, target) for p in stored]) / (length * target_length)
    ones = target_length / length  # of the scaled factors that they, unscaled, add up to 1
    free, shift = np.linalg.lstsq(gram, np.stack([right, ones], axis=1))[0].T
    scaled = free + shift * (1 - ones @ free) / (ones @ shift)  # Lagrange
    missed = 1 - 2 * scaled @ right + scaled @ gram @ scaled
    return Solution(scaled * ones, float(max(missed, 0.0) ** 0.5))


def find_snapshots(folder: Path) -> list[Snapshot]:
    """The power-function averages in a folder, by name: `<average>-step-<step>.safetensors`, as training writes them.

    Averages with a constant decay are passed over, and so is `best.safetensors`, mostly a copy of one of the others.

    Raises:
        ValueError: there are fewer than two, two are the same, they are of different trainings, or one is damaged.
    """
    found = []
    for path in sorted(folder.glob("*-step-*.safetensors")):
        about = replace(load_checkpoint(path), weights={})
        kind, _, width = about.average.partition("-")
        if kind == "width":
            found.append(Snapshot(path, Profile(float(width), about.step), about))
    if len(found) < 2:
        raise ValueError(
            f"{folder}: must hold at least two snapshots of power-function averages, got {len(found)}; "
            "train with train.ema_widths=[0.05, 0.1] and train.snapshot_every"
        )
    for snapshot in found[1:]:
        different = [name for name in SECTIONS if getattr(snapshot.about, name) != getattr(found[0].about, name)]
        if different:
            raise ValueError(
                f"{snapshot.path}: snapshots must be of one training, got another section {different[0]} than in "
                f"{found[0].path.name}; put the snapshots of each training into a folder of their own"
            )
    profiles = [snapshot.profile for snapshot in found]
    for i, profile in enumerate(profiles):
        if profile in profiles[:i]:
            raise ValueError(
                f"{found[i].path}: snapshots must differ, got {found[i].about.average} of step {profile.step} twice; "
                "remove one"
            )
    return found


def require_target(snapshots: Sequence[Snapshot], target: Profile) -> None:
    """Refuse a target about which the snapshots say nothing.

    Raises:
        ValueError: the width is out of range, or the step is not among the steps that the snapshots cover.
    """
    power_gamma(target.width)
    last = max(snapshot.profile.step for snapshot in snapshots)
    if not 1 <= target.step <= last:
        raise ValueError(
            f"step of an average must be in 1..{last}, the last step of the snapshots, got {target.step}; "
            "leave it out for the last one"
        )


def reconstruct(
    snapshots: Sequence[Snapshot],
    target: Profile,
    tick: Callable[[int], object] = lambda num_files: None,  # noqa: ARG005
) -> tuple[Checkpoint, Solution]:
    """The average with the target profile, as if it had been tracked; summed in float64, one file at a time.

    Args:
        snapshots: of one training, as `find_snapshots` gives them.
        target: width and step wanted.
        tick: called with 1 after every file.

    Returns:
        The checkpoint, float32, its average named `reconstructed-width-<width>`; and how it was put together.

    Raises:
        ValueError: the target is out of range, or a file changed since it was found.
    """
    require_target(snapshots, target)
    solution, about = solve([snapshot.profile for snapshot in snapshots], target), snapshots[0].about
    with torch.device("meta"):
        net = build_net(about.data, about.model, about.objective)
    averaged = {name for name, _ in net.named_parameters()}
    sums: dict[str, Tensor] = {}
    for snapshot, factor in zip(snapshots, solution.factors, strict=True):
        for name, tensor in load_checkpoint(snapshot.path).weights.items():
            if name not in averaged:  # a buffer, the same in all files; the factors do not add up to exactly 1
                sums[name] = tensor
            elif name in sums:
                sums[name].add_(tensor, alpha=factor)
            else:
                sums[name] = tensor.double().mul_(factor)
        tick(1)
    weights = {name: tensor.float() if name in averaged else tensor for name, tensor in sums.items()}
    named = f"reconstructed-width-{target.width!r}"
    return replace(about, step=target.step, average=named, weights=weights), solution
