"""Foreign files, read without running anything in them: safetensors, JSON, and torch's own format as data only."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

Weights: TypeAlias = dict[str, Tensor]

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and a wrapping module put before every name."""

SHOWN = 3
"""So many names a message lists."""


def read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        ValueError: the file is missing or damaged.
    """
    _require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: damaged safetensors file ({_first_line(error)}); fetch it again") from None


def read_torch(path: Path) -> object:
    """What torch.save wrote, on the CPU; tensors and plain containers only, so that no code of the file runs.

    Raises:
        ValueError: the file is missing, damaged, no file of torch's, or it needs code to be read.
    """
    _require_file(path)
    try:
        # Only the zip format of torch 1.6 and later can be mapped into memory instead of read as a whole.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        # A damaged pickle can raise nearly anything; what torch raises for forbidden code names weights_only.
        if "weights_only" in str(error) and "GLOBAL" in str(error):
            rule = "must hold tensors and plain containers only, and this file wants to run code"
            raise ValueError(f"{path}: {rule}; save its state dict alone with torch.save") from None
        raise ValueError(
            f"{path}: not a file of torch.save, or damaged ({_first_line(error)}); fetch it again"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the file is missing, not JSON, or no object.
    """
    _require_file(path)
    try:
        found = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({_first_line(error)}); fetch it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must hold a JSON object, got {type(found).__name__}; fetch it again")
    return found


def as_weights(found: object, place: str) -> Weights:
    """A state dict in float32, without the prefixes of wrappers.

    Raises:
        ValueError: not every entry is a tensor of real numbers with a name.
    """
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{place}: must be a state dict (name -> tensor), got {type(found).__name__}; see --format")
    weights: Weights = {}
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"{place}: must map names to floating point tensors, got {kind} at {name}; remove it")
        weights[name] = tensor.detach().float()
    while prefix := next((p for p in WRAPPERS if all(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def some(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def require_same(place: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not exactly those of the expected net, by name and by shape.

    Raises:
        ValueError: names are unknown or missing, or a shape differs; the first few are named.
    """
    if unknown := found.keys() - expected.keys():
        raise ValueError(f"{place}: must hold the weights of one U-Net only, got unknown {some(unknown)}; remove them")
    if missing := expected.keys() - found.keys():
        raise ValueError(f"{place}: must hold all weights of the U-Net, got none for {some(missing)}; fetch it again")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            shapes = f"must be {tuple(tensor.shape)} like the rest of the net, got {tuple(found[name].shape)}"
            raise ValueError(f"{place}: {name} {shapes}; the configuration belongs to other weights")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a folder of diffusers or a checkpoint file")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
