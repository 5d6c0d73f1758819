"""How fast training goes and what it takes: for the progress bar and MLflow, never for result files."""

import platform
import resource
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from ddpm.engine.device import DTYPES
from ddpm.nets.cost import count_macs
from ddpm.nets.unet import UNet

SIDES = {"cpu": 512, "cuda": 4096}
"""Side of the matrices that measure a device: the smallest whose product runs at nearly full rate."""
CPU_SECONDS = 0.25
"""How long products are repeated on a CPU; the fastest one counts, since other programs can only slow one down."""
WARM_UP, PRODUCTS = 3, 10
"""How many on a GPU: 0.4 s at 5 TFLOP/s, and 5 ms at 700."""

Clock = Callable[[], float]


class Meter:
    """Images per second, memory, and how much of the devices' arithmetic goes into the net.

    MFU = images/s * FLOP per image / peak FLOP/s (model FLOP/s utilization, Chowdhery et al. 2022, app. B)

    Args:
        flop_per_image: see `flop_per_image`.
        peak_flops: of all devices together, see `measure_peak`.
        device: the one whose memory is looked at.
        step: optimizer steps done when the meter is made.
        clock: gives seconds.
    """

    def __init__(
        self,
        flop_per_image: float,
        peak_flops: float,
        device: torch.device,
        step: int = 0,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.flop_per_image, self.peak_flops, self.device, self.clock = flop_per_image, peak_flops, device, clock
        self.step, self.seconds = step, clock()

    def read(self, step: int, images: int) -> dict[str, float]:
        """What happened since the last reading: images_per_second and mfu of all devices, memory_bytes of this one.

        Read it where the program has waited for the device: a queue of work that was only handed over looks fast.

        Args:
            step: optimizer steps done by now, more than at the last reading.
            images: images of one step, of all devices together.
        """
        now = self.clock()
        rate = (step - self.step) * images / (now - self.seconds)
        self.step, self.seconds = step, now
        return {
            "images_per_second": rate,
            "memory_bytes": float(peak_memory_bytes(self.device)),
            "mfu": rate * self.flop_per_image / self.peak_flops,
        }


def flop_per_image(net: UNet) -> float:
    """FLOP of training on one image: two per multiply-accumulate, the backward pass twice the forward pass.

    Nothing that is computed again counts, nor the second look of self-conditioning.
    """
    return 6.0 * count_macs(net)


def peak_memory_bytes(device: torch.device) -> int:
    """The most that this process ever held: on a GPU in torch's tensors, on a CPU in all of its resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if platform.system() == "Linux":  # where getrusage starts at the peak of the parent process
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def measure_peak(device: torch.device, precision: str, clock: Clock = time.perf_counter) -> float:
    """The rate of matrix products in FLOP/s, in the precision of training and on the cores that torch may use.

    It takes less than half a second. float32 means what torch was told (`set_determinism`): with or without TF32.

    Args:
        precision: as in `params.yaml: train.precision`.
        clock: gives seconds; a GPU measures itself.
    """
    side = SIDES[device.type]
    numbers = torch.linspace(-1, 1, side * side, device=device)  # zeros would take less power, and run faster
    matrix = numbers.view(side, side).to(DTYPES.get(precision, torch.float32))
    out = torch.empty_like(matrix)
    seconds = _seconds_on_gpu(matrix, out) if device.type == "cuda" else _seconds_on_cpu(matrix, out, clock)
    return 2 * side**3 / seconds


def _seconds_on_gpu(matrix: torch.Tensor, out: torch.Tensor) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    for i in range(WARM_UP + PRODUCTS):
        if i == WARM_UP:
            start.record()
        torch.mm(matrix, matrix, out=out)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000 / PRODUCTS  # it gives milliseconds


def _seconds_on_cpu(matrix: torch.Tensor, out: torch.Tensor, clock: Clock) -> float:
    times = [clock()]
    while times[-1] - times[0] < CPU_SECONDS:
        torch.mm(matrix, matrix, out=out)
        times.append(clock())
    return min(after - before for before, after in pairwise(times))
