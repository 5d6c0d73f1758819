"""The unfinished state of a training run: written whole and beside the training, verified when read, the newest sound
one wins.
"""

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm.diffusion.time_sampling import LossHistory
from ddpm.digest import file_sha256
from ddpm.experiment.workspace import atomic_path


@dataclass
class Progress:
    """What training has done so far, besides weights and optimizer moments.

    Attributes:
        step: optimizer steps done.
        loss_sum: of this process, and the following two: sums since the last logged step, on the device (reading them
            would wait for the GPU).
        grad_norm_sum, grad_norms: gradient norms and how many there were; in fp16 some steps have none.
        rows: the curve, one row per logged step.
        history: recent losses of every t; None where the sampling of t needs none.
        previews: step -> images drawn then, uint8 NHWC.
    """

    step: int
    loss_sum: Tensor
    grad_norm_sum: Tensor
    grad_norms: Tensor
    rows: list[dict[str, float]] = field(default_factory=list)
    history: LossHistory | None = None
    previews: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    @classmethod
    def fresh(cls, device: torch.device) -> "Progress":
        """Nothing done yet."""
        loss_sum, grad_norm_sum, grad_norms = torch.zeros(3, device=device).unbind()
        return cls(0, loss_sum.clone(), grad_norm_sum.clone(), grad_norms.clone())

    def state(self, loss_sums: Tensor) -> dict[str, Any]:
        """As plain values, with the loss sums of all processes."""
        return {
            "step": self.step,
            "rows": list(self.rows),
            "loss_sums": loss_sums,
            "grad_norm_sum": self.grad_norm_sum,
            "grad_norms": self.grad_norms,
            "history": self.history and (self.history.losses, self.history.counts),
            "previews": {step: torch.from_numpy(images) for step, images in self.previews.items()},
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], rank: int, count: int) -> "Progress":
        """From plain values; with another count of processes than wrote them, each takes their mean."""
        sums = state["loss_sums"]
        return cls(
            state["step"],
            (sums[rank] if len(sums) == count else sums.mean()).clone(),
            state["grad_norm_sum"],
            state["grad_norms"],
            state["rows"],
            state["history"] and LossHistory(*state["history"]),
            {step: images.cpu().numpy() for step, images in state["previews"].items()},
        )


class StateWriter:
    """Writes states in a thread, one at a time, while training goes on; as a context it waits for the last one.

    Args:
        folder: gets `step-<n>-<digest>.pt`; the digest proves the file whole.
        keep: how many states stay there, the newest ones.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Begin to write a copy of the state as it is now.

        Raises:
            OSError: the state before this one could not be written; the older ones are whole.
        """
        self.wait()
        copied = to_host(state)
        self.thread = threading.Thread(target=self._write, args=(step, copied), name="state")
        self.thread.start()

    def wait(self) -> None:
        """Go on when the last state is on the disk.

        Raises:
            OSError: it is not, and why.
        """
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def __enter__(self) -> "StateWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.thread is not None:
            self.thread.join()  # whatever became of it: the work is done, or has its own error

    def _write(self, step: int, state: Mapping[str, Any]) -> None:
        try:
            newest = self.folder / "newest.pt"
            with atomic_path(newest) as temporary, temporary.open("wb") as file:
                _save(state, file)
            newest.rename(self.folder / f"step-{step:09d}-{_digest(newest)}.pt")
            for old in sorted(self.folder.glob("step-*.pt"))[: -self.keep]:
                old.unlink()
        except BaseException as error:  # handed to the thread that trains
            self.error = error


def read_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest state whose bytes are those that were written, or None."""
    for path in sorted(folder.glob("step-*.pt"), reverse=True):
        if _digest(path) == path.stem.split("-")[2]:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            return state
        print(f"{path.name}: damaged state, falling back to the one before it", file=sys.stderr)
    return None


def to_host(value: Any) -> Any:
    """A copy in the memory of the CPU of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: to_host(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_host(item) for item in value)
    return value


def _save(state: Mapping[str, Any], file: BinaryIO) -> None:
    """torch.save, but a full disk is an OSError: torch reports its own surprise about the file's position instead."""
    try:
        torch.save(dict(state), file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _digest(path: Path) -> str:
    return file_sha256(path)[:16]
