"""The training loops that ours is compared with: each as its project runs it, on a net of the same size.

Both average the weights and clip the gradients, as ours does, and both get dropout as `model.dropout` says.
"""

import io
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet  # type: ignore[import-untyped]
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.export import describe
from ddpm.experiment.params import Params
from ddpm.nets.cost import count_parameters

Pixels = NDArray[np.uint8]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BATCHES_ON_DISK = 64
"""The trainer of denoising-diffusion-pytorch starts its workers anew every epoch, so an epoch must not be short."""


@dataclass(frozen=True)
class Loop:
    """One training loop, ready to go.

    Attributes:
        step: does one whole optimizer step, data and average of the weights included.
        parameters: trained numbers of its net.
        macs: multiply-accumulates of one forward pass of one image.
    """

    step: Callable[[], None]
    parameters: int
    macs: int


def diffusers_net(params: Params) -> nn.Module:
    """Our net as a `UNet2DModel`, with the same number of parameters.

    Raises:
        ValueError: a setting that diffusers cannot express.
    """
    checkpoint = Checkpoint(params.data, params.schedule, params.model, params.objective, 0, {})
    config, _ = describe(checkpoint, params.sample)
    net: nn.Module = UNet2DModel.from_config(config)  # type: ignore[no-untyped-call]
    return net


def diffusers_loop(
    params: Params, precision: str, layout: str, compiled: bool, images: Pixels, device: torch.device
) -> Loop:
    """The loop of diffusers' example of unconditional training, with `--use_ema`, without Accelerate around it.

    AdamW, clipping and `EMAModel` are set as there. The images lie on the device as floats, so loading costs nothing.

    Args:
        params: net, image size and batch.
        precision: float32 or bf16, which is autocast around the net.
        layout: contiguous, as it is there, or channels_last.
        compiled: whether torch.compile is put around the net, which the example does not do.
        images: uint8 (N, height, width, channels).
        device: where to compute.
    """
    batch, memory_format = params.train.batch, LAYOUTS[layout]
    net = diffusers_net(params).to(device).to(memory_format=memory_format).train()
    called = torch.compile(net) if compiled else net
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    scheduler: Any = DDPMScheduler(num_train_timesteps=1000)  # type: ignore[no-untyped-call]
    clean = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1

    def step() -> None:
        x0 = clean[torch.randint(0, len(clean), (batch,), device=device)].contiguous(memory_format=memory_format)
        noise = torch.randn_like(x0)
        t = torch.randint(0, 1000, (batch,), device=device)
        with autocast(device, precision):
            predicted = called(scheduler.add_noise(x0, noise, t), t).sample
            loss = F.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(net.parameters())

    return Loop(step, count_parameters(net), count_macs(diffusers_net, params))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bfloat16 where it is asked for."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def count_macs(build: Callable[[Params], nn.Module], params: Params) -> int:
    """Count the multiply-accumulates of one forward pass of one image, as `ddpm.nets.cost.count_macs` does for ours."""
    meta, (height, width, channels) = torch.device("meta"), params.data.shape
    with meta:
        net = build(params)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(1, channels, height, width, device=meta), torch.ones(1, device=meta))
    return int(counter.get_total_flops()) // 2


def lucidrains_net(params: Params, width: int) -> nn.Module:
    """The U-Net of denoising-diffusion-pytorch with our multipliers and image channels; the rest as in its example."""
    multipliers, channels = tuple(params.model.multipliers), params.data.channels
    dropout = params.model.dropout
    net: nn.Module = Unet(width, dim_mults=multipliers, channels=channels, dropout=dropout, flash_attn=True)
    return net


def nearest_width(params: Params) -> int:
    """The multiple of 8 at which that U-Net comes nearest to our number of parameters."""

    def distance(width: int) -> int:
        return abs(count_parameters(lucidrains_net(params, width)) - wanted)

    with torch.device("meta"):
        wanted = count_parameters(diffusers_net(params))
        return min(range(8, 2 * params.model.channels + 8, 8), key=distance)


def lucidrains_loop(
    params: Params, precision: str, layout: str, images: Pixels, device: torch.device, folder: Path
) -> Loop:
    """`Trainer.train` of denoising-diffusion-pytorch, told to stop after each step, with its own loader of PNG files.

    All is as it is by default but the batch size and, for bf16, `amp`; nothing is sampled or saved.

    Args:
        params, precision, layout, images, device: as of `diffusers_loop`.
        folder: where the files go; kept by the caller while the loop is used.
    """
    width = nearest_width(params)
    net = lucidrains_net(params, width).to(device).to(memory_format=LAYOUTS[layout])
    os.environ["ACCELERATE_USE_CPU"] = str(device.type == "cpu").lower()
    # Accelerate keeps one precision per process, and refuses the next trainer that wants another. What it has prepared
    # before does not look there again.
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = Trainer(
        GaussianDiffusion(net, image_size=params.data.shape[:2]),
        str(image_files(images, params.train.batch * BATCHES_ON_DISK, folder / "images")),
        train_batch_size=params.train.batch,
        save_and_sample_every=2**62,
        results_folder=str(folder / "results"),
        amp=precision == "bf16",
        mixed_precision_type="bf16",
        calculate_fid=False,
    )

    def step() -> None:
        trainer.train_num_steps = trainer.step + 1
        quiet = io.StringIO()
        with redirect_stdout(quiet), redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its loader asks for pinned memory, with and without a GPU
            trainer.train()

    return Loop(step, count_parameters(net), count_macs(lambda params: lucidrains_net(params, width), params))


def image_files(images: Pixels, count: int, folder: Path) -> Path:
    """Write that many PNG files, the images over and over, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(list(folder.glob("*.png"))), max(count, 100)):  # its trainer wants 100
        pixels = images[number % len(images)]
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / f"{number}.png")
    return folder
