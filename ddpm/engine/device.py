"""Where and how exactly numbers are computed: device, determinism, precision."""

import ctypes
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Processors that multiply in bfloat16 name one of these: Intel and AMD, Intel, Arm."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of a command's `--device`: `auto` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine (or this build of torch) has no GPU; use --device cpu or auto")
    return torch.device(name)


def set_determinism(deterministic: bool) -> None:
    """Same bytes on every run, or the fastest kernels; in both cases float32 means float32 (TF32 is off)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, before its first product
    torch.use_deterministic_algorithms(deterministic)
    # Filling every new tensor first would cost a pass over each; nothing of ours reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def require_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device has no kernels for; warn of one that it only imitates.

    Raises:
        ValueError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ValueError(f"precision fp16 needs a GPU, got device {device}; use bf16 or float32")
    if precision == "bf16" and device.type == "cpu" and not cpu_flags() & BF16_FLAGS:
        warnings.warn("precision bf16: this processor has no instructions for it; float32 is faster", stacklevel=2)


def cpu_flags() -> set[str]:
    """What the processor says it can do; everything, where it cannot be asked."""
    place = Path("/proc/cpuinfo")
    return set(place.read_text().split()) if place.is_file() else BF16_FLAGS


def memory_format(device: torch.device, channels: int) -> torch.memory_format:
    """channels_last for the tensor cores of a GPU, and on a CPU for nets of 128 channels and more.

    Below, a vector of the CPU would hold the channels of several norm groups, and contiguous images are faster
    (docs/decisions/0010).
    """
    return torch.channels_last if device.type == "cuda" or channels >= 128 else torch.contiguous_format


def keep_heap() -> None:
    """Tell glibc to keep freed memory: else every step on a CPU gives its activations back and faults them in again.

    A tenth of a training step (docs/decisions/0015). Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, -1)  # never; a number would be an int, and 2 GB are soon free at the heap's end


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which the net, and only the net, runs in lower precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])
