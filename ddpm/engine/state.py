"""The unfinished state of a training run: written whole, verified when read, the newest sound one wins."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ddpm.diffusion.time_sampling import LossHistory
from ddpm.digest import file_sha256
from ddpm.experiment.workspace import atomic_path

KEEP = 2
"""How many states are kept: the newest, and one to fall back to."""


@dataclass
class Progress:
    """What training has done so far, besides weights and optimizer moments.

    Attributes:
        step: optimizer steps done.
        rows: the curve, one row per logged step.
        loss_sum, grad_norm_sum: sums since the last logged step, on the device (reading them would wait for the GPU).
        history: recent losses of every t; None where the sampling of t needs none.
    """

    step: int
    loss_sum: Tensor
    grad_norm_sum: Tensor
    rows: list[dict[str, float]] = field(default_factory=list)
    history: LossHistory | None = None


def save_state(
    folder: Path, progress: Progress, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any
) -> None:
    """Write `step-<n>-<sha256>.pt` and drop all but the newest two. The digest in the name proves the file whole."""
    content = {
        "step": progress.step,
        "rows": progress.rows,
        "loss_sum": progress.loss_sum,
        "grad_norm_sum": progress.grad_norm_sum,
        "history": progress.history and (progress.history.losses, progress.history.counts),
        "net": net.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }
    with atomic_path(folder / "newest.pt") as temporary, temporary.open("wb") as file:
        _save(content, file)
    newest = folder / "newest.pt"
    newest.rename(folder / f"step-{progress.step:09d}-{_digest(newest)}.pt")
    for old in sorted(folder.glob("step-*.pt"))[:-KEEP]:
        old.unlink()


def load_state(
    folder: Path, net: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, scaler: Any, device: torch.device
) -> Progress:
    """Restore the newest state whose bytes are those that were written; a fresh start if there is none."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        if _digest(path) != path.stem.split("-")[2]:
            print(f"{path.name}: damaged state, falling back to the one before it", file=sys.stderr)
            continue
        content = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(content["net"])
        ema.load_state_dict(content["ema"])
        optimizer.load_state_dict(content["optimizer"])
        scaler.load_state_dict(content["scaler"])
        history = content["history"] and LossHistory(*content["history"])
        return Progress(content["step"], content["loss_sum"], content["grad_norm_sum"], content["rows"], history)
    return Progress(0, torch.zeros((), device=device), torch.zeros((), device=device))


def _save(content: dict[str, Any], file: BinaryIO) -> None:
    """torch.save, but a full disk is an OSError: torch reports its own surprise about the file's position instead."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _digest(path: Path) -> str:
    return file_sha256(path)[:16]
