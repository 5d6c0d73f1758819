"""Several processes for one piece of work: started by torch's elastic launcher, or by `torchrun` on several machines.

A command that is asked for more than one device starts itself again that many times (`launch`). Each of these
processes joins a `Team`; the first one talks, locks, records and writes, the others compute. What is computed does not
depend on their number beyond the order of float sums: everything random has an address (`ddpm.randomness`).
"""

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from ddpm.engine.device import pick_device

RESTARTS = 10
"""How often the launcher starts the workers again after one of them died, before it gives up."""
PATIENCE = timedelta(hours=1)
"""How long a process waits for others: they may be at a long batch. One that died is noticed at once."""
REFUSAL = "DDPM_REFUSAL"
"""Environment variable: the file in which the first worker leaves the one line that its user shall see."""


@dataclass(frozen=True)
class Team:
    """The processes that share one piece of work.

    Attributes:
        rank: number of this process, 0..count-1.
        count: of processes.
        device: where this process computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that talks and writes."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """The values of all processes, equally shaped, one after another along the first dimension."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            self.gather(torch.zeros(1))  # on the CPU: the device need not be idle


class Votes:
    """What the processes wish, agreed upon without waiting: each call returns the wishes of the call before it.

    A process may learn of a signal, or that time is up, at another step than its neighbors; they must act at the same
    one. The wishes travel between CPUs while the device computes. A single process gets its own wishes at once.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.pending: tuple[Tensor, dist.Work] | None = None

    def __call__(self, *wishes: bool) -> tuple[bool, ...]:
        """Wish; and hear which wishes any process had at the call before this one."""
        if self.team.count == 1:
            return wishes
        heard = self.close() or (False,) * len(wishes)
        flags = torch.tensor(wishes, dtype=torch.uint8)
        self.pending = flags, dist.all_reduce(flags, dist.ReduceOp.MAX, async_op=True)
        return heard

    def close(self) -> tuple[bool, ...] | None:
        """Hear the last wishes, if there are any on their way."""
        if self.pending is None:
            return None
        (flags, work), self.pending = self.pending, None
        work.wait()
        return tuple(bool(flag) for flag in flags)


def alone(device: torch.device) -> Team:
    """A team of one."""
    return Team(0, 1, device)


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join(device: str) -> Iterator[Team]:
    """The team that this process belongs to; a team of one unless a launcher has started it.

    Args:
        device: as of `--device`; each of several processes takes the GPU of its number on its machine.
    """
    place = pick_device(device)
    if not launched():
        yield alone(place)
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    backends = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    dist.init_process_group(backends, timeout=PATIENCE)
    try:
        yield Team(dist.get_rank(), dist.get_world_size(), place)
    except RuntimeError:
        if _refused():
            sys.exit(0)
        raise
    finally:
        dist.destroy_process_group()


def _refused() -> bool:
    """Whether another worker has hung up because it refused; it leaves its line right after hanging up."""
    refusal = os.environ.get(REFUSAL)
    for _ in range(50 if refusal else 0):
        if Path(str(refusal)).exists():
            return True
        time.sleep(0.1)
    return False


def count_devices(devices: str | int, device: str) -> int:
    """How many processes `devices` asks for: `auto` is one per GPU, and one on a CPU.

    Raises:
        ValueError: more GPUs than there are, or several processes on one named GPU.
    """
    place = pick_device(device)
    available = torch.cuda.device_count() if place.type == "cuda" else os.cpu_count() or 1
    if devices == "auto":
        return available if place.type == "cuda" and place.index is None else 1
    count = int(devices)
    if count > 1 and place.index is not None:
        raise ValueError(f"--device {device} is one device; use --device cuda for {count} of them")
    if place.type == "cuda" and count > available:
        raise ValueError(f"devices must be at most {available}, the GPUs of this machine, got {count}; or use auto")
    return count


def launch(count: int, arguments: Sequence[str]) -> None:
    """Run `python -m ddpm ARGUMENTS` in `count` processes on this machine, and start them again when one dies.

    Raises:
        ValueError: what the first worker refused, or that workers keep dying.
        SystemExit: a signal stopped it; the workers were told and have ended.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
        monitor_interval=0.1,
    )
    cores = os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))  # else each process takes all cores
    # Else workers that are started again read the addresses of dead ones from the launcher's store (torch 2.14).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    with tempfile.TemporaryDirectory() as folder:
        refusal = Path(folder) / "refusal"
        os.environ[REFUSAL] = str(refusal)
        try:
            elastic_launch(config, sys.executable)("-m", "ddpm", *arguments)
        except SignalException as signal:
            sys.exit(128 + signal.sigval)
        except ChildFailedError as error:
            if not refusal.exists():
                rank, failure = error.get_first_failure()
                raise ValueError(
                    f"process {rank} of {count} died ({failure.message.splitlines()[0]}) and {RESTARTS} restarts did "
                    "not help; the last state is in work/, the same command goes on from there"
                ) from None
        finally:
            del os.environ[REFUSAL]
        if refusal.exists():
            raise ValueError(refusal.read_text())
