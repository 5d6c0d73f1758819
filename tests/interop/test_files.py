"""Files from elsewhere: nothing in them is run, and what is wrong with them is said in one line."""

import os
from pathlib import Path

import pytest
import torch

from ddpm.engine.interop import import_checkpoint
from ddpm.interop.files import as_weights, some


class Trap:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def refused(path, params, words, kind="auto"):
    with pytest.raises(ValueError, match=words) as error:
        import_checkpoint(path, kind, "ema", None, params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(params, tmp_path, zipped):
    torch.save({"conv_in.weight": Trap(tmp_path / "sprung")}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "a.pth", params, "must hold tensors and plain containers only, and this file wants to run code")
    assert not (tmp_path / "sprung").exists()


def test_code_in_the_weights_of_a_folder_is_not_run(edited, params, tmp_path):
    unet = edited("unet/config.json") / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Trap(tmp_path / "sprung")}, unet / "diffusion_pytorch_model.bin")
    refused(unet.parent, params, "wants to run code")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_files_are_refused(params, tmp_path, zipped, share):
    path = tmp_path / "a.pth"
    torch.save({"temb.dense.0.weight": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, params, r"a\.pth: not a file of torch\.save, or damaged")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weight": torch.zeros(3)}, "must be of a known format .* got weight"),
        ([], "must be of a known format .* got list"),
        (torch.zeros(3), "must be of a known format .* got Tensor"),
        (3, "must be of a known format .* got int"),
        ({"temb.dense.0.weight": 3}, "must map names to floating point tensors, got int at temb.dense.0.weight"),
        ({"temb.dense.0.weight": torch.zeros(3, dtype=torch.int64)}, "got torch.int64 at temb.dense.0.weight"),
        ([{"temb.dense.0.weight": torch.zeros(3)}, 1, 2, 3, None], "must be a state dict .* got NoneType"),
    ],
)
def test_files_that_hold_something_else_are_refused(params, tmp_path, content, words):
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", params, words)


def test_places_that_cannot_be_right_are_refused(edited, params, tmp_path):
    refused(tmp_path / "nowhere", params, "nowhere: no such file; name a folder of diffusers or a checkpoint file")
    refused(tmp_path / "nowhere", params, "must be a folder of diffusers", kind="diffusers")
    refused(tmp_path, params, r"config\.json: no such file")
    folder = edited("unet/config.json")
    refused(folder / "unet/diffusion_pytorch_model.safetensors", params, "must be named by its folder")


def test_half_precision_becomes_float32_and_wrappers_come_off():
    found = as_weights({"module.model.a": torch.ones(2).half(), "module.model.b": torch.ones(1).bfloat16()}, "x")
    assert {name: tensor.dtype for name, tensor in found.items()} == {"a": torch.float32, "b": torch.float32}


def test_long_lists_of_names_are_cut():
    assert some("dbca") == "a, b, c and 1 more"
    assert some("ba") == "a, b"
