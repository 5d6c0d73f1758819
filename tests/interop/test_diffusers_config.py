"""Settings of diffusers, one by one: what is taken, what is refused, and in which words."""

import re

import pytest

from ddpm.engine.interop import import_checkpoint
from ddpm.engine.sections import betas

UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"


def imported(folder, params, image_size=None):
    return import_checkpoint(folder, "auto", "ema", image_size, params)


def refused(folder, params, words):
    with pytest.raises(ValueError, match=words) as error:
        imported(folder, params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("_class_name", "UNet2DConditionModel", "_class_name must be UNet2DModel, got UNet2DConditionModel"),
        ("center_input_sample", True, "center_input_sample must be False to be imported, got True"),
        ("time_embedding_type", "fourier", "time_embedding_type must be positional to be imported, got fourier"),
        ("time_embedding_dim", 64, "time_embedding_dim must be null or 128 to be imported, got 64"),
        ("freq_shift", 0.5, "freq_shift must be 0 or 1 to be imported, got 0.5"),
        ("mid_block_type", None, "mid_block_type must be UNetMidBlock2D to be imported, got None"),
        ("mid_block_scale_factor", 1.4, "mid_block_scale_factor must be 1 to be imported, got 1.4"),
        ("add_attention", False, "add_attention must be True to be imported, got False"),
        ("downsample_padding", 2, "downsample_padding must be 0 or 1 to be imported, got 2"),
        ("downsample_type", "resnet", "downsample_type must be conv to be imported, got resnet"),
        ("upsample_type", "resnet", "upsample_type must be conv to be imported, got resnet"),
        ("act_fn", "gelu", "act_fn must be silu or swish to be imported, got gelu"),
        ("norm_num_groups", 16, "norm_num_groups must be 32 to be imported, got 16"),
        ("attn_norm_num_groups", 16, "attn_norm_num_groups must be 32 to be imported, got 16"),
        ("resnet_time_scale_shift", "spatial", "resnet_time_scale_shift must be default or scale_shift"),
        ("resnet_time_scale_shift", "scale_shift", "attn_norm_num_groups must be 32 to be imported, got None"),
        ("class_embed_type", "timestep", "class_embed_type must be None to be imported, got timestep"),
        ("block_out_channels", [32, 80], r"block_out_channels must be multiples of the first width .* got \[32, 80\]"),
        ("block_out_channels", [32, 64, 64], "down_block_types must be one for each of 3 block_out_channels"),
        ("down_block_types", ["DownBlock2D", "SkipDownBlock2D"], "down_block_types must be DownBlock2D or AttnDown"),
        ("up_block_types", ["UpBlock2D", "UpBlock2D"], "up_block_types must be the mirror image of down_block_types"),
        ("sample_size", [8, 8, 3], r"sample_size must be a number, or height and width .* got \[8, 8, 3\]"),
        ("sample_size", None, "sample_size must be given, got null; say it with --image-size"),
        ("sample_size", 2, "data.image_size must be greater than or equal to 4, got 2"),
        ("in_channels", 4, "out_channels must be in_channels"),
        ("out_channels", 6, "out_channels must be in_channels, or twice that with variance_type learned_range, got 6"),
        ("layers_per_block", 2, r"must hold all weights of the U-Net, got none for down_blocks\.0\.resnets\.1\.conv1"),
        ("num_class_embeds", 7, r"must hold all weights of the U-Net, got none for class_embedding\.weight"),
        ("attention_head_dim", 48, "head_channels must divide 64"),
        ("fancy_new_setting", 1, "must hold settings of UNet2DModel only, got fancy_new_setting"),
    ],
)
def test_a_net_that_cannot_be_ours_is_refused(edited, params, setting, value, words):
    refused(edited(UNET, **{setting: value}), params, words)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("_class_name", "EulerDiscreteScheduler", "_class_name must be DDPMScheduler, DDIMScheduler to be imported"),
        ("beta_schedule", "sigmoid", "beta_schedule must be linear, scaled_linear, squaredcos_cap_v2 to be imported"),
        ("prediction_type", "flow", "prediction_type must be epsilon, sample, v_prediction to be imported, got flow"),
        ("trained_betas", [0.1, 0.2, 0.9], "trained_betas must be null, or equal linear .* got 3 others"),
        ("variance_type", "learned", "variance_type must be learned_range for a learned variance, got learned"),
        ("variance_type", "learned_range", "out_channels must be in_channels, or twice that"),
        ("rescale_betas_zero_snr", True, "prediction_type must be v_prediction or sample where .* got epsilon"),
        ("beta_end", 1.5, r"schedule\.beta_T must be less than 1, got 1\.5"),
    ],
)
def test_a_process_that_cannot_be_ours_is_refused(edited, params, setting, value, words):
    refused(edited(SCHEDULER, **{setting: value}), params, words)


def test_an_image_size_that_contradicts_the_file_is_refused(tiny_folder, edited, params):
    assert imported(tiny_folder, params, image_size=8).checkpoint.data.image_size == 8
    with pytest.raises(ValueError, match=r"--image-size must be 8 as .*config\.json says, got 16; leave it out"):
        imported(tiny_folder, params, image_size=16)
    with pytest.raises(ValueError, match=r"--image-size must be \[8, 16\] as .*config\.json says, got 8; leave it out"):
        imported(edited(UNET, sample_size=[8, 16]), params, image_size=8)


@pytest.mark.parametrize(("size", "width"), [([8, 8], 0), ([8, 16], 16)])
def test_a_pair_is_height_and_width(edited, params, size, width):
    found = imported(edited(UNET, sample_size=size), params).checkpoint
    assert (found.data.image_size, found.data.image_width) == (8, width)
    assert found.model.attention == [4]


def test_the_image_size_is_taken_where_the_file_is_silent(edited, params):
    model = imported(edited(UNET, sample_size=None), params, image_size=16).checkpoint.model
    assert model.attention == [8]


@pytest.mark.parametrize("kind", ["linear", "quadratic", "cosine", "sigmoid"])
def test_written_out_betas_are_recognized(edited, params, kind):
    trained = [float(f"{beta:.7g}") for beta in betas(kind, 300, 0.0002, 0.03)]
    folder = edited(SCHEDULER, trained_betas=trained, beta_start=0.0002, beta_end=0.03)
    schedule = imported(folder, params).checkpoint.schedule
    assert (schedule.kind, schedule.T) == (kind, 300)


def test_the_sections_say_what_the_files_say(tiny_folder, params):
    found = imported(tiny_folder, params)
    checkpoint = found.checkpoint
    assert (checkpoint.data.image_size, checkpoint.data.channels) == (8, 3)
    assert checkpoint.data.source == params.data.source
    assert (checkpoint.schedule.kind, checkpoint.schedule.T, checkpoint.schedule.beta_T) == ("linear", 1000, 0.02)
    assert (checkpoint.objective.target, checkpoint.objective.weighting) == ("eps", "constant")
    assert (checkpoint.model.channels, checkpoint.model.multipliers, checkpoint.model.attention) == (32, [1, 2], [4])
    assert found.sampling == {
        "sampler": "ddpm",
        "steps": 1000,
        "variance": "fixed_large",
        "spacing": "uniform",
        "clip_x0": True,
        "dynamic_threshold": 0.0,
    }


@pytest.mark.parametrize(
    ("settings", "sampling", "note"),
    [
        ({"_class_name": "DDIMScheduler"}, {"sampler": "ddim", "eta": 0.0, "steps": 50}, "keeps eps_hat"),
        ({"variance_type": "fixed_small_log"}, {"variance": "fixed_small"}, None),
        (
            {"variance_type": "fixed_large_log"},
            {"variance": "fixed_large"},
            "_log .* is taken as fixed_large",
        ),
        ({"timestep_spacing": "trailing"}, {"spacing": "trailing"}, "noise in the last step"),
        ({"timestep_spacing": "trailing", "variance_type": "fixed_small"}, {"spacing": "trailing"}, None),
        ({"timestep_spacing": "linspace"}, {}, "linspace .* is reproduced with all 1000 steps only"),
        ({"steps_offset": 1}, {}, "leading with steps_offset 1 is reproduced with all 1000 steps only"),
        ({"clip_sample": False}, {"clip_x0": False}, None),
        ({"clip_sample_range": 2.0}, {"clip_x0": True}, r"clipped to \[-1, 1\] here, there at 2"),
        ({"thresholding": True}, {"clip_x0": True, "dynamic_threshold": 0.0}, None),
        (
            {"thresholding": True, "sample_max_value": 9.0},
            {"clip_x0": False, "dynamic_threshold": 0.995},
            "no upper end",
        ),
    ],
    ids=str,
)
def test_how_they_sample_is_reported(edited, params, settings, sampling, note):
    found = imported(edited(SCHEDULER, **settings), params)
    assert found.sampling.items() >= sampling.items()
    if note is None:
        assert not found.notes
    else:
        assert re.search(note, " ".join(found.notes))


def test_a_net_alone_takes_its_process_from_the_parameters(tiny_folder, params):
    found = imported(tiny_folder / "unet", params)
    assert found.checkpoint.schedule == params.schedule
    assert "schedule and objective.target are those of params.yaml" in found.notes[0]
    assert found.sampling == {}


def test_an_extra_and_a_missing_weight_are_named(edited, params):
    from safetensors.torch import load_file, save_file

    folder = edited(UNET)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(weights | {"mid_block.extra.weight": weights["conv_in.bias"].clone()}, file)
    refused(folder, params, r"got unknown mid_block\.extra\.weight; remove them")
    del weights["conv_out.bias"]
    save_file(weights, file)
    refused(folder, params, r"got none for conv_out\.bias")
    save_file(weights | {"conv_out.bias": weights["conv_in.bias"].clone()}, file)
    refused(folder, params, r"conv_out\.bias must be \(3,\) like the rest of the net, got \(32,\)")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("unet/config.json", b"{", "not valid JSON"),
        ("unet/config.json", b"[1]", "must hold a JSON object, got list"),
        ("scheduler/scheduler_config.json", b"\xff\xfe", "not valid JSON"),
        ("unet/diffusion_pytorch_model.safetensors", b"\x10\0\0\0\0\0\0\0{}", "damaged safetensors file"),
        ("unet/diffusion_pytorch_model.safetensors", None, "must hold diffusion_pytorch_model.safetensors or .bin"),
        ("unet/config.json", None, r"config\.json: no such file"),
    ],
)
def test_damaged_and_missing_files_are_named(edited, params, file, content, words):
    folder = edited(UNET)
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    refused(folder, params, words)
