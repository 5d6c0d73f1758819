"""What a net costs: parameters, arithmetic and memory, counted on the meta device, where nothing is computed."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ddpm.nets.unet import UNet

FLOAT32_BYTES = 4
HALF_BYTES = 2


def count_parameters(net: nn.Module) -> int:
    """Count the trained numbers."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def count_macs(net: UNet) -> int:
    """Count the multiply-accumulates of one forward pass of one image.

    Convolutions, matrix products and attention are counted; norms, swishes and sums, about 1 %, are not.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run_on_meta(net, batch=1)
    return int(counter.get_total_flops()) // 2  # the counter takes a multiply-accumulate for two operations


@dataclass(frozen=True)
class TrainBytes:
    """An estimate of the memory that training takes; see `estimate_train_bytes`."""

    weights: int
    gradients: int
    moments: int
    ema: int
    activations: int

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return self.weights + self.gradients + self.moments + self.ema + self.activations


def estimate_train_bytes(net: UNet, batch: int, precision: Literal["float32", "bf16", "fp16"]) -> TrainBytes:
    """Estimate the memory of a training step with Adam and EMA.

    4 bytes a parameter for each of weight, gradient, EMA and the two moments, and in half precision 2 more for
    autocast's copy of the weight; plus batch times the activations that one image's forward pass saves for the
    backward pass, at 4 or 2 bytes.

    It is an estimate, and low: the device's context, the libraries' workspaces, fragmentation and tensors that live
    only inside an operation are left out; so is that CUDA's autocast keeps the norms' outputs in float32. A compiled
    net recomputes some activations and needs less.

    Args:
        batch: images a step on one device.
        precision: as in `params.yaml: train.precision`.

    Raises:
        ValueError: the batch is empty.
    """
    if batch < 1:
        raise ValueError(f"estimate_train_bytes: batch must be at least 1, got {batch}; 1 image is the smallest step")
    half = precision != "float32"
    parameters = count_parameters(net)
    float32 = FLOAT32_BYTES * parameters
    return TrainBytes(
        weights=float32 + HALF_BYTES * parameters * half,
        gradients=float32,
        moments=2 * float32,
        ema=float32,
        activations=batch * count_saved_activations(net) * (HALF_BYTES if half else FLOAT32_BYTES),
    )


def count_saved_activations(net: UNet) -> int:
    """Count the numbers that one image's forward pass keeps for the backward pass; each buffer once, weights not."""
    saved: dict[int, Tensor] = {}  # holds the tensors, so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            saved.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        run_on_meta(net, batch=1)
    return sum(tensor.untyped_storage().nbytes() // FLOAT32_BYTES for tensor in saved.values())


def run_on_meta(net: UNet, batch: int) -> Tensor:
    """Run the net with its weights replaced by shapes; the net itself, wherever it lies, is left alone."""
    meta = torch.device("meta")
    shapes: dict[str, Tensor] = {
        name: nn.Parameter(torch.empty(tensor.shape, device=meta), requires_grad=tensor.requires_grad)
        for name, tensor in net.named_parameters()
    }
    shapes |= {name: torch.empty(tensor.shape, device=meta) for name, tensor in net.named_buffers()}
    x_t = torch.empty(batch, net.in_channels, *net.image_size, device=meta)
    labels = torch.zeros(batch, dtype=torch.int64, device=meta) if net.num_classes > 0 else None
    keys = torch.zeros(batch, dtype=torch.int64, device=meta)
    output: Tensor = functional_call(net, shapes, (x_t, torch.ones(batch, device=meta), labels, keys))
    return output
