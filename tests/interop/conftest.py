"""Nets of diffusers with weights that leave no branch near zero, and parameters to import them with."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ddpm.experiment.params import Params
from ddpm.experiment.params_file import load

with warnings.catch_warnings():  # what importing diffusers says about its own dependencies
    warnings.simplefilter("ignore")
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    from diffusers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()

ROOT = Path(__file__).parents[2]

HO = {
    "downsample_padding": 0,
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
"""How diffusers spells the network of Ho et al. (2020)."""


def spelled(widths: list[int], attends: list[int], size: int, **others: Any) -> dict[str, Any]:
    """Settings of a `UNet2DModel`: widths from the finest level on, and the levels that attend."""
    down = ["AttnDownBlock2D" if level in attends else "DownBlock2D" for level in range(len(widths))]
    up = ["AttnUpBlock2D" if level in attends else "UpBlock2D" for level in reversed(range(len(widths)))]
    blocks = {"down_block_types": down, "up_block_types": up, "block_out_channels": widths}
    return HO | {"sample_size": size} | blocks | others


PUBLISHED = {
    "cifar10": (spelled([128, 256, 256, 256], [1], 32), 35_746_307, 328),
    "celeba64": (spelled([128, 256, 256, 256, 512], [2], 64), 78_700_803, 390),
    "256": (spelled([128, 128, 256, 256, 512, 512], [4], 256), 113_673_219, 450),
}
"""Settings, parameters and tensors of the three published nets."""

TINY = spelled([32, 64], [1], 8, layers_per_block=1)


def randomize(net: nn.Module, seed: int = 1) -> nn.Module:
    """Weights of order one per fan-in everywhere; the gains of norms around one, so that no two tensors are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            scale = max(1, parameter[0].numel()) ** -0.5 if parameter.ndim > 1 else 0.2
            parameter.normal_(0, scale, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)
    return net.eval()


def foreign(settings: dict[str, Any], seed: int = 1) -> Any:
    """A random net of diffusers."""
    return randomize(UNet2DModel(**settings), seed)


def batch(settings: dict[str, Any], count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their times, 0 among them."""
    generator = torch.Generator().manual_seed(2)
    size = settings["sample_size"]
    height, width = size if isinstance(size, list) else (size, size)
    images = torch.randn(count, settings.get("in_channels", 3), height, width, generator=generator)
    return images, torch.tensor([731, 0, 999, 1])[:count]


def assert_alike(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal up to the order of summation, and of visible size."""
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def save_pipeline(folder: Path, net: Any, **scheduler: Any) -> Path:
    """A folder as a pipeline of diffusers saves it."""
    DDPMPipeline(unet=net, scheduler=DDPMScheduler(**scheduler)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The functions and tables above; test modules cannot import them."""
    return SimpleNamespace(
        PUBLISHED=PUBLISHED,
        TINY=TINY,
        UNet2DModel=UNet2DModel,
        DDPMPipeline=DDPMPipeline,
        spelled=spelled,
        randomize=randomize,
        foreign=foreign,
        batch=batch,
        assert_alike=assert_alike,
        save_pipeline=save_pipeline,
    )


@pytest.fixture(scope="session")
def params() -> Params:
    """The quick recipe, for what no foreign file tells."""
    return load(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline of diffusers; read only."""
    return save_pipeline(tmp_path_factory.mktemp("diffusers") / "tiny", foreign(TINY), variance_type="fixed_large")


@pytest.fixture
def edited(tmp_path: Path, tiny_folder: Path) -> Callable[..., Path]:
    """A copy of the tiny pipeline with settings of one of its JSON files changed."""

    def edit(file: str, **settings: Any) -> Path:
        folder = tmp_path / "edited"
        if not folder.exists():
            shutil.copytree(tiny_folder, folder)
        before = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(before | settings))
        return folder

    return edit
