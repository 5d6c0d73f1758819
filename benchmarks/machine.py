"""Where a measurement was made, the settings of the whole process, and the files with its numbers."""

import ctypes
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ddpm.engine.device import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_heap, set_determinism
from ddpm.experiment.workspace import write_bytes, write_json

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ROOT / "pipeline" / "recipes"
RESULTS = Path("benchmarks/results")
PACKAGES = (
    *("numpy", "scipy", "torch-fidelity", "pytorch-fid"),
    *("diffusers", "denoising-diffusion-pytorch", "accelerate", "ema-pytorch"),
)
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
LARGEST_ADAPTED = 32 * 2**20
"""Up to here glibc raises its own threshold of mmap, as larger and larger blocks are freed (mallopt(3))."""
NOT_MEASURED = "not measured"

Machine: TypeAlias = dict[str, Any]


def describe(device: torch.device) -> Machine:
    """The machine and the versions, without the names of hosts, users or paths."""
    flags, names = _cpu_lines("flags"), _cpu_lines("model name")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_flags": [flag for flag in CPU_FLAGS if flags and flag in flags[0].split()],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": gpu,
        "system": f"{platform.system()}, {' '.join(platform.libc_ver()) or 'its own C library'}",
        "python": platform.python_version(),
        "packages": {"torch": torch.__version__, **{n: number for n in PACKAGES if (number := _version(n))}},
    }


def kind(machine: Machine) -> str:
    """The machine in a file name: `nvidia-h200`, or `amd-epyc-2-cores`."""
    return slug(machine["gpu"] or f"{machine['processor']} {machine['cores']} cores")


def slug(text: str) -> str:
    """Lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@dataclass(frozen=True)
class Mode:
    """Settings of a whole process that a loop was written for.

    Attributes:
        deterministic: as of `set_determinism`; None leaves torch as it is when it is imported.
        keep_heap: whether glibc keeps freed memory, as our training asks it to.
    """

    deterministic: bool | None
    keep_heap: bool

    def enter(self) -> None:
        """Apply them.

        glibc adapts its thresholds while a program runs, until one of them is set: then it never adapts again. The
        values here are those it would end at, with activations of 32 MB: page faults per step are the same.
        """
        if self.deterministic is None:
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, True
        else:
            set_determinism(self.deterministic)
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if self.keep_heap:
            keep_heap()
        elif mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGEST_ADAPTED)
            mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_ADAPTED)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; None becomes `not measured`."""
    lines = [head, ["---"] * len(head), *([NOT_MEASURED if cell is None else str(cell) for cell in r] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(value: float | None, form: str = ".2f", factor: float = 1.0) -> str | None:
    """A number for a table; nothing where there is none."""
    return None if value is None else format(value * factor, form)


def report(name: str, title: str, measured: Mapping[str, Any], body: str, out: Path, device: torch.device) -> Path:
    """Write `<name>-<machine>.json` and the page of tables beside it, and print the page; returns its path."""
    machine, command = describe(device), " ".join(["python -m", _module(), *map(_shown, sys.argv[1:])])
    date, threads = str(datetime.now(UTC).date()), os.environ.get("OMP_NUM_THREADS")
    settings = {"OMP_NUM_THREADS": threads} if threads else {}
    packages = ", ".join(f"{package} {number}" for package, number in machine["packages"].items())
    memory, flags = f"{machine['memory_bytes'] / 2**30:.0f} GiB", " ".join(machine["cpu_flags"])
    where = f"{machine['processor']} ({flags}), {machine['cores']} cores, {machine['threads']} threads, {memory}"
    gpu = f"{machine['gpu']}; " if machine["gpu"] else ""
    page = f"""# {title}

```sh
{command}
```

{date}. {gpu}{where}; {machine["system"]}, Python {machine["python"]};
{packages}.

{body}
"""
    path = out / f"{name}-{kind(machine)}.md"
    found = {"benchmark": name, "command": command, "date": date, "environment": settings, "machine": machine}
    write_json(path.with_suffix(".json"), {**found, **measured})
    write_bytes(path, page.encode())
    print(page)
    return path


def _shown(argument: str) -> str:
    """An argument of the command line; of a file that lies elsewhere only the name: no other machine has its place."""
    path = Path(argument)
    return path.name if path.exists() and not path.resolve().is_relative_to(Path.cwd()) else argument


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return getattr(spec, "name", None) or "benchmarks"


def _cpu_lines(field: str) -> list[str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
