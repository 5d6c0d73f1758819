"""The Inception network behind FID: the graph of 2015-12-05, with every batch norm folded into its convolution.

The FID network is Inception v3 (Szegedy et al. 2016) with three changes: average pools leave the zero padding out of
the mean, the last block pools by maximum, and the classifier has 1,008 outputs. Layer names are those of the
published weights, so a state dict of ours reads `Mixed_5b.branch5x5_1.weight`, `.bias`.
"""

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256, read_verified

Tap: TypeAlias = Literal["Mixed_6e", "Mixed_7c", "fc"]
TAP_DIMS: dict[Tap, int] = {"Mixed_6e": 768, "Mixed_7c": 2048, "fc": 2048 + 1008}

BATCH_NORM_EPS = 0.001
BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")

Kernel: TypeAlias = tuple[int, int]
POINT, SQUARE, ROW, COLUMN = (1, 1), (3, 3), (1, 7), (7, 1)

POOLS = {
    "average": partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False),
    "max": partial(F.max_pool2d, kernel_size=3, stride=1, padding=1),
    "shrink": partial(F.max_pool2d, kernel_size=3, stride=2),
}


class ConvRelu(nn.Conv2d):
    """A convolution with its batch norm folded in, then ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, in, h, w) -> (batch, out, h', w'), 0 or more."""
        return F.relu(super().forward(input), inplace=True)


class AndLogits(nn.Linear):
    """The classifier without its bias, beside the features that it sees: (batch, in) -> (batch, in + out)."""

    def forward(self, input: Tensor) -> Tensor:
        """Features first, then logits."""
        return torch.cat([input, super().forward(input)], dim=1)


@dataclass(frozen=True)
class Branch:
    """One branch of a block: an optional pool, then convolutions (channels, kernel), the last one maybe strided.

    Args:
        name: a lone convolution has this name; several are numbered `_1`, `_2`, ...
        fork: channels of a final pair 1x3 and 3x1, side by side, named `_<n>a` and `_<n>b`; 0 for none.
    """

    name: str
    convs: tuple[tuple[int, Kernel], ...] = ()
    pool: Literal["average", "max", "shrink"] | None = None
    stride: int = 1
    fork: int = 0


class Mixed(nn.Module):
    """An Inception block: branches over the same input, joined along the channels."""

    def __init__(self, channels: int, *branches: Branch) -> None:
        super().__init__()
        self.chains: list[tuple[Branch, list[str], list[str]]] = []
        for branch in branches:
            width, chain = channels, []
            for number, (out, kernel) in enumerate(branch.convs, start=1):
                is_alone = len(branch.convs) == 1 and not branch.fork
                chain.append(branch.name if is_alone else f"{branch.name}_{number}")
                stride = branch.stride if number == len(branch.convs) else 1
                self.add_module(chain[-1], _conv(width, out, kernel, stride))
                width = out
            pair = [f"{branch.name}_{len(chain) + 1}{side}" for side in "ab"] if branch.fork else []
            for name, kernel in zip(pair, ((1, 3), (3, 1)), strict=False):
                self.add_module(name, _conv(width, branch.fork, kernel, 1))
            self.chains.append((branch, chain, pair))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, sum of the branches' channels, h', w')."""
        outs: list[Tensor] = []
        for branch, chain, pair in self.chains:
            y = POOLS[branch.pool](x) if branch.pool else x
            for name in chain:
                y = self.get_submodule(name)(y)
            outs += [self.get_submodule(name)(y) for name in pair] or [y]
        return torch.cat(outs, dim=1)


def _conv(channels: int, out: int, kernel: Kernel, stride: int) -> ConvRelu:
    """Inside the blocks: padded to the same size where the stride is 1, not padded where it is 2."""
    padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 else (0, 0)
    return ConvRelu(channels, out, kernel, stride=stride, padding=padding)


def _mixed_5(channels: int, pool_channels: int) -> Mixed:
    return Mixed(
        channels,
        Branch("branch1x1", ((64, POINT),)),
        Branch("branch5x5", ((48, POINT), (64, (5, 5)))),
        Branch("branch3x3dbl", ((64, POINT), (96, SQUARE), (96, SQUARE))),
        Branch("branch_pool", ((pool_channels, POINT),), pool="average"),
    )


def _mixed_6a() -> Mixed:
    return Mixed(
        288,
        Branch("branch3x3", ((384, SQUARE),), stride=2),
        Branch("branch3x3dbl", ((64, POINT), (96, SQUARE), (96, SQUARE)), stride=2),
        Branch("branch_pool", pool="shrink"),
    )


def _mixed_6(width: int) -> Mixed:
    return Mixed(
        768,
        Branch("branch1x1", ((192, POINT),)),
        Branch("branch7x7", ((width, POINT), (width, ROW), (192, COLUMN))),
        Branch("branch7x7dbl", ((width, POINT), (width, COLUMN), (width, ROW), (width, COLUMN), (192, ROW))),
        Branch("branch_pool", ((192, POINT),), pool="average"),
    )


def _mixed_7a() -> Mixed:
    return Mixed(
        768,
        Branch("branch3x3", ((192, POINT), (320, SQUARE)), stride=2),
        Branch("branch7x7x3", ((192, POINT), (192, ROW), (192, COLUMN), (192, SQUARE)), stride=2),
        Branch("branch_pool", pool="shrink"),
    )


def _mixed_7(channels: int, pool: Literal["average", "max"]) -> Mixed:
    return Mixed(
        channels,
        Branch("branch1x1", ((320, POINT),)),
        Branch("branch3x3", ((384, POINT),), fork=384),
        Branch("branch3x3dbl", ((448, POINT), (384, SQUARE)), fork=384),
        Branch("branch_pool", ((192, POINT),), pool=pool),
    )


def inception(tap: Tap) -> nn.Sequential:
    """The network up to a tap, without weights (on the `meta` device).

    It maps (batch, 3, 299, 299) in [-1, 1] to (batch, 768 | 2048 | 3056): the spatial mean of Mixed_6e, that of
    Mixed_7c (the features of FID), or the latter and behind them the classifier's 1,008 outputs without its bias (what
    the Inception Score uses).
    """
    with torch.device("meta"):
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            Conv2d_1a_3x3=ConvRelu(3, 32, 3, stride=2),  # (batch, 32, 149, 149)
            Conv2d_2a_3x3=ConvRelu(32, 32, 3),  # (batch, 32, 147, 147)
            Conv2d_2b_3x3=ConvRelu(32, 64, 3, padding=1),
            MaxPool_1=nn.MaxPool2d(3, stride=2),  # (batch, 64, 73, 73)
            Conv2d_3b_1x1=ConvRelu(64, 80, 1),
            Conv2d_4a_3x3=ConvRelu(80, 192, 3),  # (batch, 192, 71, 71)
            MaxPool_2=nn.MaxPool2d(3, stride=2),  # (batch, 192, 35, 35)
            Mixed_5b=_mixed_5(192, 32),
            Mixed_5c=_mixed_5(256, 64),
            Mixed_5d=_mixed_5(288, 64),  # (batch, 288, 35, 35)
            Mixed_6a=_mixed_6a(),  # (batch, 768, 17, 17)
            Mixed_6b=_mixed_6(128),
            Mixed_6c=_mixed_6(160),
            Mixed_6d=_mixed_6(160),
            Mixed_6e=_mixed_6(192),
            Mixed_7a=_mixed_7a(),  # (batch, 1280, 8, 8)
            Mixed_7b=_mixed_7(1280, "average"),
            Mixed_7c=_mixed_7(2048, "max"),  # (batch, 2048, 8, 8); the maximum is the graph's own, not the paper's
        )
        if tap == "Mixed_6e":
            for name in ("Mixed_7a", "Mixed_7b", "Mixed_7c"):
                del layers[name]
        layers.update(AvgPool=nn.AdaptiveAvgPool2d(1), Flatten=nn.Flatten())
        if tap == "fc":
            layers["fc"] = AndLogits(2048, 1008, bias=False)
        return nn.Sequential(layers)


def fold_batch_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold each `<layer>.bn` into its `<layer>.conv`, in float64, as the network runs it in evaluation mode.

    weight' = weight * scale, bias' = beta - running_mean * scale, scale = gamma / sqrt(running_var + 0.001)

    Args:
        state: `<layer>.conv.weight`, `<layer>.bn.{weight,bias,running_mean,running_var}`; other tensors are kept.

    Returns:
        `<layer>.weight`, `<layer>.bias`, float32.
    """
    folded = {name: tensor for name, tensor in state.items() if ".conv." not in name and ".bn." not in name}
    for name, tensor in state.items():
        if not name.endswith(".conv.weight"):
            continue
        layer = name.removesuffix(".conv.weight")
        gamma, beta, mean, var = (state[f"{layer}.bn.{part}"].double() for part in BATCH_NORM_PARTS)
        scale = gamma / torch.sqrt(var + BATCH_NORM_EPS)
        folded[f"{layer}.weight"] = (tensor.double() * scale[:, None, None, None]).float()
        folded[f"{layer}.bias"] = (beta - mean * scale).float()
    return folded


def with_weights(tap: Tap, folded: Mapping[str, Tensor]) -> nn.Sequential:
    """The network with folded weights, frozen, in channels_last, on the CPU; weights beyond the tap are left out.

    Raises:
        RuntimeError: a tensor is missing or has another shape.
    """
    net = inception(tap)
    net.load_state_dict({name: folded[name] for name in net.state_dict() if name in folded}, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def load_canonical(path: Path, tap: Tap = "Mixed_7c") -> nn.Sequential:
    """The network with the published weights (pytorch-fid's and torch-fidelity's file).

    Raises:
        ValueError: no such file, or its SHA-256 is not the published one; nothing is unpickled then.
    """
    content = read_verified(path, CANONICAL_SHA256)
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return with_weights(tap, fold_batch_norm(state))


def load_partial(path: Path) -> nn.Sequential:
    """The network up to Mixed_6e, from the npz of folded weights.

    Raises:
        ValueError: no such file, or its SHA-256 is not the pinned one.
    """
    content = read_verified(path, PARTIAL_SHA256)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return with_weights("Mixed_6e", {name: torch.from_numpy(arrays[name]) for name in arrays.files})
