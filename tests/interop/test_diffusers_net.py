"""Nets of diffusers and ours compute the same, in both directions."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddpm.engine.build import build_net
from ddpm.engine.export import export_diffusers
from ddpm.engine.interop import import_checkpoint
from ddpm.interop.diffusers_names import to_diffusers
from ddpm.interop.diffusers_unet import DEFAULTS, layout_from

CPU = torch.device("cpu")


def imported(folder, params):
    return import_checkpoint(folder, "auto", "ema", None, params)


def both_ways(kit, params, folder, settings, count=2, labels=None):
    """Import a random net of diffusers and compare; export one of ours with other weights and compare."""
    theirs = kit.foreign(settings)
    theirs.save_pretrained(folder / "in")
    checkpoint = imported(folder / "in", params).checkpoint
    x, t = kit.batch(settings, count)
    with torch.no_grad():
        kit.assert_alike(checkpoint.build(CPU)(x, t, labels), theirs(x, t, labels).sample)

    net = kit.randomize(build_net(checkpoint.data, checkpoint.model, checkpoint.objective), seed=5)
    sample = params.sample.model_copy(update={"variance": "fixed_large"})
    export_diffusers(replace(checkpoint, weights=dict(net.state_dict())), sample, folder / "out")
    loaded = kit.UNet2DModel.from_pretrained(folder / "out" / "unet").eval()
    with torch.no_grad():
        kit.assert_alike(net(x, t, labels), loaded(x, t, labels).sample)
    return checkpoint


@pytest.mark.parametrize("name", ["cifar10", "celeba64", "256"])
def test_the_published_nets_agree(kit, params, tmp_path, name):
    # All at 32x32 with their own blocks, so that attention moves along: at full size one pass takes 24 and 248 GMAC.
    both_ways(kit, params, tmp_path, kit.PUBLISHED[name][0] | {"sample_size": 32}, count=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["celeba64", "256"])
def test_the_published_nets_agree_at_full_size(kit, params, tmp_path, name):
    both_ways(kit, params, tmp_path, kit.PUBLISHED[name][0], count=1)


@pytest.mark.parametrize("name", ["cifar10", "celeba64", "256"])
def test_the_names_and_shapes_of_the_published_nets_match_one_to_one(kit, params, name):
    from ddpm.engine.sections import PUBLISHED, assemble, expected_weights

    settings, parameters, tensors = kit.PUBLISHED[name]
    with torch.device("meta"):
        theirs = {key: tensor.shape for key, tensor in kit.UNet2DModel(**settings).state_dict().items()}
    checkpoint = assemble({}, layout_from(settings, None, "config.json"), PUBLISHED, params, "config.json")
    ours = {to_diffusers(key): tensor.shape for key, tensor in expected_weights(checkpoint).items()}
    assert ours == theirs
    assert len(ours) == len(expected_weights(checkpoint)) == tensors
    assert sum(shape.numel() for shape in ours.values()) == parameters


@pytest.mark.parametrize(
    "settings",
    [
        {"freq_shift": 0},
        {"flip_sin_to_cos": True},
        {"flip_sin_to_cos": True, "freq_shift": 0},
        {"downsample_padding": 1},
        {"norm_eps": 1e-2},
        {"attention_head_dim": 16},
        {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 32},
        {"in_channels": 1, "out_channels": 1, "dropout": 0.3},
        {"block_out_channels": [64, 64], "layers_per_block": 3},
    ],
    ids=str,
)
def test_every_option_agrees(kit, params, tmp_path, settings):
    checkpoint = both_ways(kit, params, tmp_path, kit.spelled([64, 128], [0, 1], 8, layers_per_block=1) | settings)
    assert checkpoint.model.dropout == settings.get("dropout", 0.0)


@pytest.mark.parametrize("size", [[8, 16], [16, 8]])
def test_images_need_not_be_square(kit, params, tmp_path, size):
    checkpoint = both_ways(kit, params, tmp_path, kit.TINY | {"sample_size": size})
    assert list(checkpoint.data.shape[:2]) == size
    assert checkpoint.model.attention == [size[0] // 2]


def test_what_is_silent_in_a_configuration_has_the_default_of_diffusers(kit, params, tmp_path):
    import inspect

    found = {name: each.default for name, each in inspect.signature(kit.UNet2DModel.__init__).parameters.items()}
    del found["self"]
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()} == DEFAULTS


def test_class_embeddings_become_labels(kit, params, tmp_path):
    settings = kit.TINY | {"num_class_embeds": 5}
    theirs = kit.foreign(settings)
    theirs.save_pretrained(tmp_path / "labeled")
    found = imported(tmp_path / "labeled", params)
    x, t = kit.batch(settings, 4)
    labels = torch.tensor([0, 4, 2, 1])
    with torch.no_grad():
        kit.assert_alike(found.checkpoint.build(CPU)(x, t, labels), theirs(x, t, labels).sample)
    assert found.checkpoint.model.num_classes == 5
    assert found.checkpoint.objective.label_dropout == 0  # nobody trained the null label, so nobody may guide with it
    assert "no guidance" in " ".join(found.notes)


def test_a_net_with_labels_is_exported_with_its_null_label(kit, params, tmp_path):
    model = {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": [4], "num_classes": 3}
    sections = params.data.model_copy(update={"image_size": 8}), params.model.model_copy(update=model), params.objective
    net = kit.randomize(build_net(*sections))
    from ddpm.engine.checkpoint import Checkpoint

    checkpoint = Checkpoint(sections[0], params.schedule, *sections[1:], step=7, weights=dict(net.state_dict()))
    notes = export_diffusers(checkpoint, params.sample, tmp_path)
    assert "3 is the null label" in notes[0]
    assert not (tmp_path / "model_index.json").exists()
    theirs = kit.UNet2DModel.from_pretrained(tmp_path / "unet").eval()
    x, t = kit.batch({"sample_size": 8, "in_channels": 1}, 4)
    labels = torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        kit.assert_alike(net(x, t, labels), theirs(x, t, labels).sample)
    again = imported(tmp_path, params).checkpoint
    assert again.model == checkpoint.model
    assert again.objective == checkpoint.objective


@pytest.mark.parametrize("shape", ["linear", "convolution"])
def test_the_attention_names_of_2022_are_understood(kit, params, tmp_path, shape):
    theirs = kit.foreign(kit.TINY)
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = {}
    for name, tensor in load_file(file).items():
        now = next((part for part in old if part in name), None)
        kernel = shape == "convolution" and now and name.endswith("weight")
        weights[name.replace(now, old[now]) if now else name] = tensor[:, :, None, None] if kernel else tensor
    assert any("proj_attn" in name for name in weights)
    save_file(weights, file, metadata={"format": "pt"})
    x, t = kit.batch(kit.TINY)
    with torch.no_grad():
        kit.assert_alike(imported(tmp_path, params).checkpoint.build(CPU)(x, t), theirs(x, t).sample)


@pytest.mark.parametrize("flat", [False, True])
def test_pickled_weights_and_folders_without_subfolders_are_read(kit, params, tmp_path, flat):
    theirs = kit.foreign(kit.TINY)
    folder = kit.save_pipeline(tmp_path / "pipeline", theirs, beta_end=0.03)
    unet = folder / "unet"
    torch.save(theirs.state_dict(), unet / "diffusion_pytorch_model.bin")
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    if flat:
        for file in (*unet.iterdir(), folder / "scheduler" / "scheduler_config.json"):
            file.rename(folder / file.name)
        unet.rmdir()
    checkpoint = imported(folder, params).checkpoint
    assert checkpoint.schedule.beta_T == 0.03
    x, t = kit.batch(kit.TINY)
    with torch.no_grad():
        kit.assert_alike(checkpoint.build(CPU)(x, t), theirs(x, t).sample)
