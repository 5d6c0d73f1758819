"""One net on several devices: copies whose gradients are averaged (DDP), or one net in shards (FSDP2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ddpm.engine.distributed import Team
from ddpm.nets.attention import Attention
from ddpm.nets.blocks import ResBlock


def parallelize(net: nn.Module, kind: str, team: Team) -> nn.Module:
    """The module whose backward pass averages gradients over the team; for a team of one, the net itself.

    Args:
        net: on the team's device. `fsdp` shards it in place, block by block (Zhao et al. 2023, the second version).
        kind: ddp or fsdp.
    """
    if team.count == 1:
        return net
    if kind == "ddp":
        places = [team.device] if team.device.type == "cuda" else None
        return DistributedDataParallel(net, places, gradient_as_bucket_view=True)
    mesh = init_device_mesh(team.device.type, (team.count,))
    for module in net.modules():
        if isinstance(module, ResBlock | Attention):
            fully_shard(module, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


@contextmanager
def gradients_meet(parallel: nn.Module, now: bool) -> Iterator[None]:
    """Forward and backward passes inside average their gradients over the team only if `now`."""
    if isinstance(parallel, FSDPModule):
        parallel.set_requires_gradient_sync(now)
        yield
    elif isinstance(parallel, DistributedDataParallel) and not now:
        with parallel.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor as one piece, from the shards of all processes if `like` is sharded; every process must ask.

    Args:
        tensor: sharded itself, or this process's shard of something that is sharded as `like` is.
    """
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    if isinstance(like, DTensor):
        shards = DTensor.from_local(
            tensor, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        )
        return shards.full_tensor()
    return tensor


def shard_as(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's view of a whole tensor: sharded if `like` is."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return tensor


def whole_weights(net: nn.Module) -> dict[str, Tensor]:
    """The state dict of a net, each tensor in one piece."""
    return {name: whole(tensor, tensor) for name, tensor in net.state_dict().items()}


def load_whole_weights(net: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load what `whole_weights` returned."""
    net.load_state_dict({name: shard_as(weights[name], tensor) for name, tensor in net.state_dict().items()})


def whole_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state dict of an optimizer, each tensor in one piece."""
    state = optimizer.state_dict()
    pieces = {
        number: {name: whole(value, value) if isinstance(value, Tensor) else value for name, value in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": pieces}


def load_whole_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load what `whole_optimizer` returned."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    pieces = {
        number: {
            name: shard_as(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in entry.items()
        }
        for number, entry in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": pieces})
