"""The samplers that `benchmarks/sampling.py` compares: one network with the same weights in ours and in diffusers'."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.machine import Mode
from benchmarks.peers import diffusers_net
from ddpm.engine.batches import to_pixels
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import BF16_FLAGS, cpu_flags
from ddpm.engine.sample import trajectories
from ddpm.experiment.params import Params
from ddpm.interop.diffusers_names import to_diffusers

Pixels = NDArray[np.uint8]
OURS, DIFFUSERS = "ddpm", "diffusers"
SEED, NEXT_TO_ZERO = 0, 1e-6


@dataclass(frozen=True)
class Way:
    """One way to draw images.

    Attributes:
        who: whose.
        precision: float32 or bf16.
        compiled: whether torch.compile is around the net.
    """

    who: str
    precision: str
    compiled: bool = False

    @property
    def label(self) -> str:
        """All of it in words."""
        return f"{self.who}, {self.precision}{', compiled' * self.compiled}"

    def mode(self, device: torch.device) -> Mode:
        """The settings of the process: ours as `ddpm sample` makes them, for diffusers torch as it is."""
        return Mode(True, device.type == "cpu") if self.who == OURS else Mode(None, False)


@dataclass(frozen=True)
class Drawing:
    """A way, ready to go.

    Attributes:
        draw: draws one batch, uint8 NHWC on the CPU.
        evaluations: images that its net has seen since it was built.
    """

    draw: Callable[[], Pixels]
    evaluations: Callable[[], int]


def ways(params: Params, device: torch.device) -> list[Way]:
    """All of them; ours in bf16 only where the device multiplies in it, compiled as the recipe says."""
    has_bf16 = device.type == "cuda" or bool(cpu_flags() & BF16_FLAGS)
    precisions = ["bf16", "float32"] if has_bf16 else ["float32"]
    ours = [Way(OURS, precision, params.sample.compile) for precision in precisions]
    return [*ours, Way(DIFFUSERS, "float32"), Way(DIFFUSERS, "bf16")]


def random_checkpoint(params: Params) -> Checkpoint:
    """The recipe's net with random weights; no layer is next to zero, as some are before training."""
    net = build_net(params.data, params.model, params.objective)
    generator = torch.Generator().manual_seed(SEED)
    weights = {
        name: tensor if tensor.abs().max() > NEXT_TO_ZERO else 0.02 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in net.state_dict().items()
    }
    return Checkpoint(params.data, params.schedule, params.model, params.objective, 0, weights)


def build(way: Way, params: Params, checkpoint: Checkpoint, device: torch.device) -> Drawing:
    """One way; `params.sample` gives steps and batch."""
    return (_ours if way.who == OURS else _diffusers)(way, params, checkpoint, device)


def _ours(way: Way, params: Params, checkpoint: Checkpoint, device: torch.device) -> Drawing:
    """What `ddpm.engine.sample.sample_images` does for each batch."""
    seen: list[int] = []
    sample = params.sample.model_copy(update={"precision": way.precision})
    start = trajectories(checkpoint, sample, SEED, device, seen.append)

    def draw() -> Pixels:
        with torch.inference_mode():
            for state in start(torch.arange(sample.batch, device=device)):
                last = state
            images: Pixels = to_pixels(last.x_s).cpu().numpy()
        return images

    return Drawing(draw, lambda: sum(seen))


def _diffusers(way: Way, params: Params, checkpoint: Checkpoint, device: torch.device) -> Drawing:
    """`DDPMPipeline` with `DDPMScheduler()`, as they are.

    In bf16 it cannot hand out PIL images (numpy has no such numbers), so it is asked for tensors.
    """
    net, seen = diffusers_twin(params, checkpoint), list[int]()
    net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    scheduler: Any = DDPMScheduler()  # type: ignore[no-untyped-call]
    pipeline: Any = DDPMPipeline(unet=net, scheduler=scheduler)  # type: ignore[no-untyped-call]
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    half = way.precision == "bf16"
    if half:
        pipeline.to(torch.bfloat16)
    number = {"batch_size": params.sample.batch, "num_inference_steps": params.sample.steps}

    def draw() -> Pixels:
        if not half:
            return np.stack([np.asarray(image) for image in pipeline(**number).images])
        found: Tensor = pipeline(**number, output_type="pt").images
        images: Pixels = (found.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return images

    return Drawing(draw, lambda: sum(seen))


def diffusers_twin(params: Params, checkpoint: Checkpoint) -> nn.Module:
    """The net of a checkpoint as a `UNet2DModel` with the same weights, ready to evaluate."""
    net = diffusers_net(params)
    net.load_state_dict({to_diffusers(name): tensor for name, tensor in checkpoint.weights.items()})
    return net.eval()


def difference(params: Params, checkpoint: Checkpoint) -> float:
    """How far one float32 evaluation of both nets is apart on the CPU, in standard deviations of the output."""
    cpu, generator = torch.device("cpu"), torch.Generator().manual_seed(SEED)
    height, width, channels = params.data.shape
    x_t, told = torch.randn((2, channels, height, width), generator=generator), torch.tensor([0, params.schedule.T - 1])
    with torch.inference_mode():
        theirs = diffusers_twin(params, checkpoint)(x_t, told).sample
        ours = checkpoint.build(cpu)(x_t, told, None, None)
    return float((ours - theirs).abs().max() / theirs.std())
