"""The other loops: nets of the same size, and steps that really train."""

from inspect import getclosurevars

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D

from benchmarks.loops import DIFFUSERS, LUCIDRAINS, NUM_IMAGES, OURS, Candidate, build, load_recipe, made_up
from benchmarks.peers import count_macs, diffusers_loop, diffusers_net, lucidrains_loop, lucidrains_net, nearest_width
from ddpm.engine.build import build_net
from ddpm.nets import cost

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("recipe", "parameters", "width", "theirs"),
    [("cifar10", 35_746_307, 144, 35_969_475), ("celeba64", 78_700_803, 152, 77_526_099)],
)
def test_the_three_nets_have_one_size(recipe: str, parameters: int, width: int, theirs: int):
    params = load_recipe(recipe, 0, [], CPU)
    with torch.device("meta"):
        ours = build_net(params.data, params.model, params.objective)
        assert cost.count_parameters(ours) == cost.count_parameters(diffusers_net(params)) == parameters
        assert nearest_width(params) == width
        assert cost.count_parameters(lucidrains_net(params, width)) == theirs
    assert abs(theirs / parameters - 1) < 0.02
    assert count_macs(diffusers_net, params) == pytest.approx(cost.count_macs(ours), rel=1e-3)


def test_images_need_not_be_square(tiny, tmp_path):
    params = load_recipe("cifar10", 16, [*tiny, "data.image_width=16"], CPU)
    split = made_up(params)
    assert split.images.shape == (NUM_IMAGES, 8, 16, 3)
    square = load_recipe("cifar10", 16, tiny, CPU)
    for who in (OURS, DIFFUSERS, LUCIDRAINS):
        candidate = Candidate(who, "float32", "contiguous")
        loop = build(candidate, params, split, CPU, tmp_path)
        loop.step()
        if who == LUCIDRAINS:  # a side alone would cut squares out
            assert getclosurevars(loop.step).nonlocals["trainer"].ds[0].shape == (3, 8, 16)
        assert loop.macs == pytest.approx(2 * build(candidate, square, split, CPU, tmp_path).macs, rel=0.05)


@pytest.mark.parametrize(("precision", "layout"), [("float32", "contiguous"), ("bf16", "channels_last")])
def test_a_step_of_diffusers_trains_and_averages(tiny, precision: str, layout: str):
    params = load_recipe("cifar10", 4, tiny, CPU)
    loop = diffusers_loop(params, precision, layout, False, made_up(params).images, CPU)
    inside = getclosurevars(loop.step).nonlocals
    net, ema = inside["net"], inside["ema"]
    before = [weight.clone() for weight in net.parameters()]
    loop.step()
    loop.step()
    assert ema.optimization_step == 2
    changed = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    averaged = [not torch.equal(a, b) for a, b in zip(before, ema.shadow_params, strict=True)]
    assert all(changed)
    assert all(averaged)
    assert {module.dropout.p for module in net.modules() if isinstance(module, ResnetBlock2D)} == {0.1}
    last_format = net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert last_format == (layout == "channels_last")


def test_two_trainers_of_other_precision_live_in_one_process(tiny, tmp_path):
    """Accelerate has one state per process; each trainer must keep what it was told."""
    params = load_recipe("cifar10", 16, tiny, CPU)
    images = made_up(params).images
    dtypes: dict[str, set[torch.dtype]] = {"float32": set(), "bf16": set()}
    steps = {}
    for precision, seen in dtypes.items():
        loop = lucidrains_loop(params, precision, "contiguous", images, CPU, tmp_path / precision)
        trainer = getclosurevars(loop.step).nonlocals["trainer"]
        unet = trainer.model.model
        unet.mid_block1.block1.proj.register_forward_hook(lambda *args, seen=seen: seen.add(args[-1].dtype))
        steps[precision] = (loop.step, trainer, unet)
    for step, trainer, unet in steps.values():
        before = unet.final_conv.weight.detach().clone()
        step()
        assert trainer.step == 1
        step()
        assert trainer.step == 2
        assert not torch.equal(before, unet.final_conv.weight)
        assert {module.p for module in unet.modules() if isinstance(module, torch.nn.Dropout)} == {0.0, 0.1}
    assert dtypes == {"float32": {torch.float32}, "bf16": {torch.bfloat16}}


def test_its_loader_reads_as_many_files_as_64_steps_need(tiny, tmp_path, capsys):
    params = load_recipe("cifar10", 16, tiny, CPU)
    loop = build(Candidate(LUCIDRAINS, "float32", "contiguous"), params, made_up(params), CPU, tmp_path)
    loop.step()
    assert len(list((tmp_path / "float32" / "images").glob("*.png"))) == 64 * 16 == NUM_IMAGES
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == ""
