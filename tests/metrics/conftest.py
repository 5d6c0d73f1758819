"""One random state dict in the published form, and images that are neither square nor gray."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm.metrics.inception import inception


@pytest.fixture(scope="session")
def random_state() -> dict[str, torch.Tensor]:
    """The 472 tensors of the published file, with random values that keep activations of order one."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in inception("fc").state_dict().items():
        layer, _, part = name.rpartition(".")
        if layer == "fc":
            state[name] = torch.randn(tensor.shape, generator=generator) * 0.02
        elif part == "weight":
            fan_in = tensor[0].numel()
            state[f"{layer}.conv.weight"] = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
            num_channels = (tensor.shape[0],)
            state[f"{layer}.bn.weight"] = torch.rand(num_channels, generator=generator) + 0.5
            state[f"{layer}.bn.bias"] = torch.randn(num_channels, generator=generator) * 0.1
            state[f"{layer}.bn.running_mean"] = torch.randn(num_channels, generator=generator) * 0.1
            state[f"{layer}.bn.running_var"] = torch.rand(num_channels, generator=generator) + 0.5
    state["fc.bias"] = torch.randn(1008, generator=generator)
    return state


@pytest.fixture(scope="session")
def random_file(random_state, tmp_path_factory) -> Path:
    """The random tensors in a file of the published form."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(random_state, path)
    return path


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Two uint8 pictures of 40x48: smooth color waves plus noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.arange(40), np.arange(48), indexing="ij")
    waves = [
        np.sin(rows[..., None] * rng.uniform(0.05, 0.5, 3) + columns[..., None] * rng.uniform(0.05, 0.5, 3))
        for _ in range(2)
    ]
    return np.clip(127 + 90 * np.stack(waves) + rng.normal(0, 20, (2, 40, 48, 3)), 0, 255).astype(np.uint8)
