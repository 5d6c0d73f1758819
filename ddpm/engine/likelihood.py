"""Bits/dim of held-out images: image i's value follows from (weights, method, seed, i), whatever the batch size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.data.store import Split
from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.likelihood import bits_per_dim, dequantized, flow_density, variational_bound
from ddpm.diffusion.samplers.ode import FIRST
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.unguided import image_batches, require_images, unguided
from ddpm.types import Images, Indices

TERMS = ("L_T", "L_t sum", "L_0")


@dataclass(frozen=True)
class Likelihood:
    """What is asked.

    Attributes:
        method: vlb, the variational bound of a chain, or ode, the exact density of the probability flow.
        variance: of the reverse steps, read by vlb: fixed_small, fixed_large or learned.
        clip: put x0_hat into range before the bound is taken; read by vlb.
        probes: random directions for the divergence, read by ode.
        tolerance: relative and absolute error of one step, read by ode.
        num_images: the first ones of the split.
        batch: images per network evaluation.
        seed: of noise, probes and dequantization.
    """

    method: str
    variance: str
    clip: bool
    probes: int
    tolerance: float
    num_images: int
    batch: int
    seed: int


def require_method(checkpoint: Checkpoint, asked: Likelihood) -> None:
    """Refuse what this checkpoint has no likelihood for.

    Raises:
        ValueError: the first rule that is broken.
    """
    process = checkpoint.schedule.process
    if asked.method == "ode":
        if checkpoint.schedule.zero_terminal_snr:
            raise ValueError(
                "--method must be vlb for a checkpoint with zero terminal SNR (its flow is infinite at T), got ode"
            )
        if asked.clip:
            raise ValueError("--clip must not be given with --method ode (a clipped flow is not smooth); leave it out")
        return
    if process != "chain":
        raise ValueError(
            f"--method must be ode for a process in continuous time ({process}), got vlb; no chain, no bound"
        )
    if asked.variance == "learned" and checkpoint.objective.variance != "learned":
        raise ValueError(
            "--variance must be fixed_small or fixed_large for a net without learned variance, got learned"
        )


def evaluations(checkpoint: Checkpoint, asked: Likelihood) -> int:
    """Network evaluations of batches that are to be expected; 0 if that is not known, as with adaptive steps."""
    return checkpoint.schedule.T * math.ceil(asked.num_images / asked.batch) if asked.method == "vlb" else 0


def likelihood(
    checkpoint: Checkpoint,
    split: Split,
    asked: Likelihood,
    device: torch.device,
    tick: Callable[[int], object],
) -> dict[str, Any]:
    """The record of bits/dim over the first images of a split: mean, standard error, terms and protocol.

    Args:
        checkpoint: weights to judge.
        split: images and labels; a class-conditional net is told the labels.
        asked: how.
        device: where to compute.
        tick: called with 1 after each network evaluation of a batch.

    Raises:
        ValueError: the checkpoint has no such likelihood, or the split does not fit it.
    """
    require_method(checkpoint, asked)
    require_images(checkpoint, split.images, asked.num_images, "the split")
    schedule, denoiser_of = unguided(checkpoint, device, asked.clip)
    measure = _bound if asked.method == "vlb" else _density
    columns: list[Tensor] = []
    with torch.no_grad():
        for index, x0, labels in image_batches(checkpoint, split, asked.num_images, asked.batch, device):
            columns.append(measure(denoiser_of(labels), schedule, x0, index, asked, tick).cpu())
    bits, *others = torch.cat(columns, dim=1)
    if not bits.isfinite().all():
        raise ValueError(f"likelihood: bits/dim must be finite, got {float(bits.mean())}; train longer, or try --clip")
    found: dict[str, Any] = {
        "method": asked.method,
        "bits_per_dim": float(bits.mean()),
        "standard_error": float(bits.std() / len(bits) ** 0.5) if len(bits) > 1 else None,
        "num_images": len(bits),
    }
    if asked.method == "vlb":
        found["terms"] = {name: float(term.mean()) for name, term in zip(TERMS, others, strict=True)}
        found["nfe"] = schedule.T
    else:
        found["nfe"] = float(others[0].mean())
    return found | {"protocol": _protocol(asked)}


def _bound(
    denoise: Denoiser, schedule: Schedule, x0: Images, index: Indices, asked: Likelihood, tick: Callable[[int], object]
) -> Tensor:
    """Rows: bits/dim and its three terms; a column per image."""

    def noise(t: int) -> Images:
        return randomness.normal(asked.seed, "likelihood noise", t, index, tuple(x0.shape[1:]))

    found = variational_bound(denoise, schedule, x0, asked.variance, noise, tick)
    return torch.stack([found.total, found.prior, found.steps, found.decoder])


def _density(
    denoise: Denoiser, schedule: Schedule, x0: Images, index: Indices, asked: Likelihood, tick: Callable[[int], object]
) -> Tensor:
    """Rows: bits/dim and network evaluations; a column per image."""
    dims = x0[0].numel()
    draws = randomness.uniform(asked.seed, "dequantization", 0, index, dims).reshape(x0.shape)
    signs = [randomness.words(asked.seed, "probes", k, index, dims) & 1 for k in range(asked.probes)]
    probes = (2 * torch.stack(signs) - 1).to(x0.dtype).reshape(asked.probes, *x0.shape)
    found = flow_density(denoise, schedule, dequantized(x0, draws), probes, asked.tolerance, tick)
    return torch.stack([bits_per_dim(found.log_prob, dims), found.evaluations.double()])


def _protocol(asked: Likelihood) -> dict[str, Any]:
    """All that the number depends on beside the weights and the images."""
    if asked.method == "vlb":
        return {"variance": asked.variance, "clip_x0": asked.clip, "draws_per_step": 1, "seed": asked.seed}
    return {
        "probes": asked.probes,
        "probe_law": "rademacher",
        "tolerance": asked.tolerance,
        "t_min": FIRST,
        "dequantization": "uniform",
        "seed": asked.seed,
    }
