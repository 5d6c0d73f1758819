"""Speed: exact by a clock that the test sets."""

import itertools
import mmap

import pytest
import torch

from ddpm.engine.speed import CPU_SECONDS, SIDES, Meter, flop_per_image, measure_peak, peak_memory_bytes
from ddpm.nets.cost import count_macs
from ddpm.nets.unet import UNet

CPU = torch.device("cpu")


def clock(*times: float):
    """Gives these times, one per call."""
    return iter(times).__next__


def test_rates_are_those_since_the_last_reading():
    meter = Meter(1e9, 2e12, CPU, clock=clock(100.0, 104.0, 105.0))
    first, second = meter.read(10, 64), meter.read(25, 64)
    assert first["images_per_second"] == 10 * 64 / 4
    assert second["images_per_second"] == 15 * 64
    assert first["mfu"] == pytest.approx(160e9 / 2e12)
    assert second["mfu"] == pytest.approx(960e9 / 2e12)
    assert set(first) == {"images_per_second", "memory_bytes", "mfu"}


def test_a_resumed_run_counts_from_where_it_goes_on():
    assert Meter(1.0, 1.0, CPU, step=500, clock=clock(0.0, 2.0)).read(510, 8)["images_per_second"] == 40


def test_memory_is_the_most_that_the_process_ever_held():
    before, more = peak_memory_bytes(CPU), 2**28
    with mmap.mmap(-1, before + more) as pages:  # more than all of before, whatever is resident now
        pages[0 : before + more : mmap.PAGESIZE] = bytes(-(-(before + more) // mmap.PAGESIZE))
        assert before + more < peak_memory_bytes(CPU) < 2 * before + 2 * more
    after = peak_memory_bytes(CPU)
    assert after > before + more  # although it is given back
    assert Meter(1.0, 1.0, CPU, clock=clock(0.0, 1.0)).read(1, 1)["memory_bytes"] == after


def test_training_takes_three_forward_passes_of_two_operations_each():
    net = UNet(3, 16, 32, [1, 2], 1, [8])
    assert flop_per_image(net) == 6 * count_macs(net)


def test_the_fastest_product_counts():
    times = [0.0, 0.1, 0.12, 0.2, CPU_SECONDS]
    assert measure_peak(CPU, "float32", clock(*times)) == pytest.approx(2 * SIDES["cpu"] ** 3 / 0.02)


def test_products_end_in_time():
    ticks = itertools.count()
    measure_peak(CPU, "bf16", lambda: 0.01 * next(ticks))
    assert next(ticks) <= CPU_SECONDS / 0.01 + 3


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_taken_in_the_precision_of_training(precision, dtype, monkeypatch):
    seen = set()
    product = torch.mm

    def watched(left, right, *, out):
        seen.update({left.dtype, right.dtype, out.dtype})
        assert left.std() > 0.5
        return product(left, right, out=out)

    monkeypatch.setattr(torch, "mm", watched)
    measure_peak(CPU, precision, clock(0.0, 1.0))
    assert seen == {dtype}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_measures_itself():
    cuda = torch.device("cuda")
    assert 1e12 < measure_peak(cuda, "float32") < measure_peak(cuda, "bf16")
    before = peak_memory_bytes(cuda)
    torch.empty(2**28, device=cuda)
    assert peak_memory_bytes(cuda) >= max(before, 2**30)
