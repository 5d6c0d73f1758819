"""Nets that step in milliseconds, and torch as it was after every test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # benchmarks are no part of what is installed
    sys.path.insert(0, str(ROOT))

TINY = [
    "model.channels=32", "model.multipliers=[1,2]", "model.attention=[4]", "model.blocks=1", "data.image_size=8",
]  # fmt: skip


@pytest.fixture
def tiny() -> list[str]:
    """Changes of a recipe."""
    return TINY


@pytest.fixture
def words() -> list[str]:
    """The same as words of a command line."""
    return [word for change in TINY for word in ("-S", change)]


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]
