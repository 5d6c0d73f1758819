"""Averages of the weights: several at once, each updated in one fused call, and put into the net for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

WIDEST = 0.28
"""Upper end of relative widths: near 0.289 is the plain mean of all steps; wider ones would weigh the start most."""


class Averages:
    """Several averages of the weights of one net: exponential ones (decays) and power functions (widths).

    Attributes:
        names: of the averages, decays first: `decay-0.9999`, `width-0.05`.
        weights: name -> tensors aligned with `list(net.parameters())`; of a sharded net, those of this process. They
            start as copies. Buffers are not averaged: those of our nets never change.
    """

    def __init__(self, net: nn.Module, decays: Sequence[float], widths: Sequence[float]) -> None:
        """Start every average at the weights that `net` has now.

        Raises:
            ValueError: a decay or a width is out of range, or there twice.
        """
        self.net = net
        self.decays = {f"decay-{decay!r}": _checked_decay(decay) for decay in decays}
        self.gammas = {f"width-{width!r}": power_gamma(width) for width in widths}
        self.names: tuple[str, ...] = (*self.decays, *self.gammas)
        if len(self.names) < len(decays) + len(widths):
            raise ValueError(f"averages must differ, got decays {list(decays)} and widths {list(widths)}; drop doubles")
        self.weights = {name: [weight.clone() for weight in self._net_weights()] for name in self.names}

    def update(self, step: int) -> None:
        """Take in the weights after optimizer step number `step` (from 1): average <- beta average + (1 - beta) net.

        Decay d: beta = min(d, (1 + step) / (10 + step)), so that early averages forget the start. Width: beta =
        (1 - 1 / step)^(gamma + 1), which weighs the weights of step j by about j^gamma (Karras et al. 2024, eq. 127);
        step 1 copies the net.
        """
        net = self._net_weights()
        with torch.no_grad():
            for name, weights in self.weights.items():
                torch._foreach_lerp_(weights, net, 1 - self._beta(name, step))

    @contextmanager
    def in_place(self, name: str) -> Iterator[None]:
        """Give the net the weights of one average; afterwards it has its own again, bit for bit.

        They are copied into the storage of the parameters: compiled nets and CUDA graphs see them. Do not train inside.

        Raises:
            KeyError: no average has this name.
        """
        average, own = self.weights[name], [weight.clone() for weight in self._net_weights()]
        self._copy_in(average)
        try:
            yield
        finally:
            self._copy_in(own)

    def state(self) -> dict[str, list[Tensor]]:
        """The averages by name, not copied: what `load` reads."""
        return dict(self.weights)

    def load(self, state: dict[str, list[Tensor]]) -> None:
        """Copy in what `state` returned, whatever device it is on.

        Raises:
            ValueError: the averages or the shapes of their tensors are others; nothing was copied.
        """
        if state.keys() != self.weights.keys():
            raise ValueError(
                f"averages: the state must hold {', '.join(self.names)}, got {', '.join(state)}; "
                "go on with the parameters it was written with"
            )
        for name, weights in self.weights.items():
            if [tensor.shape for tensor in state[name]] != [weight.shape for weight in weights]:
                raise ValueError(
                    f"averages: {name} of the state must have the shapes of the net, {_shapes(weights)}, "
                    f"got {_shapes(state[name])}; go on with the parameters it was written with"
                )
        with torch.no_grad():
            for name, weights in self.weights.items():
                for weight, tensor in zip(weights, state[name], strict=True):
                    weight.copy_(tensor)

    def _beta(self, name: str, step: int) -> float:
        assert step >= 1
        if name in self.decays:
            return min(self.decays[name], (1 + step) / (10 + step))
        beta: float = (1 - 1 / step) ** (self.gammas[name] + 1)
        return beta

    def _net_weights(self) -> list[Tensor]:
        """The parameters; of a sharded net the shards of this process, in their own storage."""
        _reshard(self.net)
        with torch.no_grad():  # else to_local gives a new node of the graph
            return [p.to_local() if isinstance(p, DTensor) else p.detach() for p in self.net.parameters()]

    def _copy_in(self, weights: list[Tensor]) -> None:
        net = self._net_weights()
        with torch.no_grad():
            torch._foreach_copy_(net, weights)


@cache
def power_gamma(width: float) -> float:
    """The exponent of the power profile of relative width sigma_rel (Karras et al. 2024, eq. 126).

    The largest root of gamma^3 + 7 gamma^2 + (16 - s) gamma + (12 - s), s = 1 / sigma_rel^2.

    Args:
        width: standard deviation of the profile in units of the training length so far, in (0, 0.28).

    Raises:
        ValueError: the width is out of range.
    """
    if not 0 < width < WIDEST:
        raise ValueError(f"width of an average must be in (0, {WIDEST}), got {width}; 0.05 to 0.2 are usual")
    s = width**-2
    roots = np.roots([1, 7, 16 - s, 12 - s])
    return float(roots.real.max())  # all three are real in this range


def _checked_decay(decay: float) -> float:
    if not 0 <= decay < 1:
        raise ValueError(f"decay of an average must be in [0, 1), got {decay}; 0.999 to 0.9999 are usual")
    return decay


def _reshard(net: nn.Module) -> None:
    """Drop gathered parameters that a forward pass without gradients leaves behind: they are copies, soon stale."""
    for module in net.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _shapes(weights: list[Tensor]) -> str:
    shapes = [tuple(weight.shape) for weight in weights]
    return ", ".join(map(str, shapes[:3])) + (f", ... ({len(shapes)} tensors)" if len(shapes) > 3 else "")
