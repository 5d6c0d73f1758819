"""Precision, memory format and heap of a device."""

import subprocess
import sys
import warnings

import pytest
import torch

from ddpm.engine import device
from ddpm.engine.device import memory_format, require_precision

CPU = torch.device("cpu")


def test_fp16_is_refused_on_a_cpu():
    with pytest.raises(ValueError, match="precision fp16 needs a GPU, got device cpu; use bf16 or float32"):
        require_precision("fp16", CPU)


def test_bf16_is_warned_of_where_the_processor_imitates_it(monkeypatch):
    monkeypatch.setattr(device, "cpu_flags", lambda: {"avx2"})
    with pytest.warns(UserWarning, match="this processor has no instructions for it; float32 is faster"):
        require_precision("bf16", CPU)
    monkeypatch.setattr(device, "cpu_flags", lambda: {"avx2", "avx512_bf16"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_precision("bf16", CPU)
        require_precision("float32", CPU)


def test_wide_nets_are_channels_last_and_narrow_ones_on_a_cpu_are_not():
    assert memory_format(CPU, 128) == memory_format(torch.device("cuda"), 32) == torch.channels_last
    assert memory_format(CPU, 96) == torch.contiguous_format


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_a_kept_heap_is_not_faulted_in_again():
    program = (
        "import resource, torch\n"
        "from ddpm.engine.device import keep_heap\n"
        "keep = {}\n"
        "if keep: keep_heap()\n"
        "def work(): [torch.empty(40, 2**18).fill_(1) for _ in range(12)]\n"  # 40 MB each: glibc gives them back
        "work(); work()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "work()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = [
        int(subprocess.run([sys.executable, "-c", program.format(keep)], capture_output=True, check=True).stdout)
        for keep in (False, True)
    ]
    assert faults[1] < faults[0] / 5
