"""The Inception networks that `benchmarks/features.py` compares, all with the same random weights."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm.metrics.features import network_features
from ddpm.metrics.inception import fold_batch_norm, inception, with_weights

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
Extract = Callable[[Pixels], Rows]

OURS_TF1, OURS_PYTORCH = "ddpm, tf1", "ddpm, pytorch"
TORCH_FIDELITY, PYTORCH_FID = "torch-fidelity", "pytorch-fid"
COUNTERPARTS = {OURS_TF1: TORCH_FIDELITY, OURS_PYTORCH: PYTORCH_FID}
"""Whose features ours must equal, and how fast theirs are."""
NUM_CLASSES = 1008
WAVES = 6


def random_state(seed: int = 0) -> dict[str, Tensor]:
    """The 472 tensors of the published file, with random values that keep activations of order one (He et al. 2015)."""
    generator = torch.Generator().manual_seed(seed)

    def spread(count: int) -> Tensor:
        return torch.rand(count, generator=generator) + 0.5

    state: dict[str, Tensor] = {}
    for name, tensor in inception("fc").state_dict().items():
        layer, _, part = name.rpartition(".")
        if layer == "fc":
            state[name] = 0.02 * torch.randn(tensor.shape, generator=generator)
        elif part == "weight":
            scale = (2 / tensor[0].numel()) ** 0.5
            state[f"{layer}.conv.weight"] = scale * torch.randn(tensor.shape, generator=generator)
            state[f"{layer}.bn.weight"], state[f"{layer}.bn.running_var"] = spread(len(tensor)), spread(len(tensor))
            for other in ("bias", "running_mean"):
                state[f"{layer}.bn.{other}"] = 0.1 * torch.randn(len(tensor), generator=generator)
    return state | {"fc.bias": torch.randn(NUM_CLASSES, generator=generator)}


def random_pictures(count: int, side: int = 64, seed: int = 0) -> Pixels:
    """Colored waves plus noise, uint8 (count, side, side, 3): unlike bare noise they differ in their features."""
    rng = np.random.default_rng(seed)
    across = np.arange(side) / side
    pictures = np.empty((count, side, side, 3), np.uint8)
    for picture in pictures:
        rows, columns = rng.uniform(-20, 20, (2, WAVES, 1, 1, 3))
        phase = rng.uniform(0, 2 * np.pi, (WAVES, 1, 1, 3))
        waves = np.sin(rows * across[:, None, None] + columns * across[None, :, None] + phase).mean(0)
        noise = rng.normal(0, rng.uniform(0, 40), waves.shape)
        picture[:] = np.clip(rng.uniform(60, 200, 3) + 150 * waves + noise, 0, 255)
    return pictures


def extractors(state: Mapping[str, Tensor], folder: Path, device: torch.device) -> dict[str, Extract]:
    """All four, from uint8 NHWC images to 2,048 features on the CPU; `folder` is for a file of the weights."""
    folded = fold_batch_norm(state)
    return {
        OURS_TF1: network_features(with_weights("Mixed_7c", folded), "tf1", device),
        OURS_PYTORCH: network_features(with_weights("Mixed_7c", folded), "pytorch", device),
        TORCH_FIDELITY: torch_fidelity(state, folder, device),
        PYTORCH_FID: pytorch_fid(state, device),
    }


def torch_fidelity(state: Mapping[str, Tensor], folder: Path, device: torch.device) -> Extract:
    """Its extractor as shipped, called as its loop over a data set calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on its import
        from torch_fidelity.feature_extractor_inceptionv3 import (  # type: ignore[import-untyped]
            FeatureExtractorInceptionV3,
        )
    path = folder / "random.pth"
    torch.save(dict(state), path)
    net: Any = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device)

    def extract(images: Pixels) -> Rows:
        with torch.no_grad():
            (features,) = net(_channels_first(images).to(device))
        rows: Rows = features.cpu().numpy()
        return rows

    return extract


def pytorch_fid(state: Mapping[str, Tensor], device: torch.device) -> Extract:
    """Its network as shipped, called as its `get_activations` calls it; `ToTensor` is the division by 255."""
    from pytorch_fid import inception as module  # type: ignore[import-untyped]

    with patch.object(module, "load_state_dict_from_url", lambda *_, **__: dict(state)):
        net: Any = module.InceptionV3([module.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).to(device).eval()

    def extract(images: Pixels) -> Rows:
        batch = (_channels_first(images).float() / 255).to(device)
        with torch.no_grad():
            features = net(batch)[0]
        rows: Rows = features.squeeze(3).squeeze(2).cpu().numpy()
        return rows

    return extract


def _channels_first(images: Pixels) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def difference(found: Rows, expected: Rows) -> float:
    """The largest difference of two sets of features, in units of their standard deviation over the images.

    max |found - expected| / sqrt(mean over features of the variance)
    """
    unit = float(np.sqrt(expected.astype(np.float64).var(axis=0).mean()))
    return float(np.abs(found.astype(np.float64) - expected).max()) / unit
