"""Checkpoints of the DDIM authors, against their forward pass restated from the names in the file."""

import math

import pytest
import torch
import torch.nn.functional as F

from ddpm.engine.interop import import_checkpoint

WIDTHS, BLOCKS, ATTENDS, SIZE, EMBEDDING = [32, 64, 64], 1, 1, 32, 128


def random_state(seed):
    """Weights under their names, of a net of three levels with attention at the middle one."""
    generator, state = torch.Generator().manual_seed(seed), {}

    def layer(name, out, *fan_in):
        scale = math.prod(fan_in) ** -0.5
        state[f"{name}.weight"] = torch.randn(out, *fan_in, generator=generator) * scale
        state[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.2

    def norm(name, width):
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(width, generator=generator)

    def block(name, width, out):
        norm(f"{name}.norm1", width)
        layer(f"{name}.conv1", out, width, 3, 3)
        layer(f"{name}.temb_proj", out, EMBEDDING)
        norm(f"{name}.norm2", out)
        layer(f"{name}.conv2", out, out, 3, 3)
        if width != out:
            layer(f"{name}.nin_shortcut", out, width, 1, 1)

    def attention(name, width):
        norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            layer(f"{name}.{part}", width, width, 1, 1)

    layer("temb.dense.0", EMBEDDING, WIDTHS[0])
    layer("temb.dense.1", EMBEDDING, EMBEDDING)
    layer("conv_in", WIDTHS[0], 3, 3, 3)
    skips, width = [WIDTHS[0]], WIDTHS[0]
    for level, out in enumerate(WIDTHS):
        for j in range(BLOCKS):
            block(f"down.{level}.block.{j}", width, out)
            width = out
            skips.append(width)
            if level == ATTENDS:
                attention(f"down.{level}.attn.{j}", width)
        if level != len(WIDTHS) - 1:
            layer(f"down.{level}.downsample.conv", width, width, 3, 3)
            skips.append(width)
    block("mid.block_1", width, width)
    attention("mid.attn_1", width)
    block("mid.block_2", width, width)
    for level in reversed(range(len(WIDTHS))):  # `up.0` is the finest level
        for j in range(BLOCKS + 1):
            block(f"up.{level}.block.{j}", width + skips.pop(), WIDTHS[level])
            width = WIDTHS[level]
            if level == ATTENDS:
                attention(f"up.{level}.attn.{j}", width)
        if level != 0:
            layer(f"up.{level}.upsample.conv", width, width, 3, 3)
    norm("norm_out", width)
    layer("conv_out", 3, width, 3, 3)
    return state


class Restated:
    """Their net, computed from the names of a state dict."""

    def __init__(self, state):
        self.state = state

    def of(self, name):
        return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

    def norm(self, name, x):
        return F.group_norm(x, 32, *self.of(name), eps=1e-6)

    def block(self, name, x, temb):
        h = F.conv2d(F.silu(self.norm(f"{name}.norm1", x)), *self.of(f"{name}.conv1"), padding=1)
        h = h + F.linear(F.silu(temb), *self.of(f"{name}.temb_proj"))[:, :, None, None]
        h = F.conv2d(F.silu(self.norm(f"{name}.norm2", h)), *self.of(f"{name}.conv2"), padding=1)
        shortcut = f"{name}.nin_shortcut"
        return h + (F.conv2d(x, *self.of(shortcut)) if f"{shortcut}.weight" in self.state else x)

    def attend(self, name, x):
        if f"{name}.q.weight" not in self.state:
            return x
        h = self.norm(f"{name}.norm", x)
        q, k, v = (F.conv2d(h, *self.of(f"{name}.{part}")).flatten(2) for part in ("q", "k", "v"))
        scores = torch.einsum("bci,bcj->bij", q, k) / q.shape[1] ** 0.5
        mixed = torch.einsum("bij,bcj->bci", scores.softmax(2), v).view_as(x)
        return x + F.conv2d(mixed, *self.of(f"{name}.proj_out"))

    def __call__(self, x, t):
        half = WIDTHS[0] // 2
        angle = t[:, None] * torch.exp(-math.log(10000) / (half - 1) * torch.arange(half))
        temb = F.linear(torch.cat([angle.sin(), angle.cos()], 1), *self.of("temb.dense.0"))
        temb = F.linear(F.silu(temb), *self.of("temb.dense.1"))
        hs = [F.conv2d(x, *self.of("conv_in"), padding=1)]
        for level in range(len(WIDTHS)):
            for j in range(BLOCKS):
                h = self.block(f"down.{level}.block.{j}", hs[-1], temb)
                hs.append(self.attend(f"down.{level}.attn.{j}", h))
            if level != len(WIDTHS) - 1:
                hs.append(F.conv2d(F.pad(hs[-1], (0, 1, 0, 1)), *self.of(f"down.{level}.downsample.conv"), stride=2))
        h = self.attend("mid.attn_1", self.block("mid.block_1", hs[-1], temb))
        h = self.block("mid.block_2", h, temb)
        for level in reversed(range(len(WIDTHS))):
            for j in range(BLOCKS + 1):
                h = self.block(f"up.{level}.block.{j}", torch.cat([h, hs.pop()], 1), temb)
                h = self.attend(f"up.{level}.attn.{j}", h)
            if level != 0:
                h = F.conv2d(F.interpolate(h, scale_factor=2), *self.of(f"up.{level}.upsample.conv"), padding=1)
        return F.conv2d(F.silu(self.norm("norm_out", h)), *self.of("conv_out"), padding=1)


@pytest.fixture(scope="module")
def states():
    return {"model": random_state(1), "ema": random_state(2)}


@pytest.fixture
def ckpt(states, tmp_path):
    """The list that their trainer saves, with the prefix of DataParallel; the shadow has none."""
    path = tmp_path / "ckpt.pth"
    wrapped = {f"module.{name}": tensor for name, tensor in states["model"].items()}
    torch.save([wrapped, {"state": {}, "param_groups": []}, 12, 345, states["ema"]], path)
    return path


def difference(kit, params, path, state, which="ema", **options):
    found = import_checkpoint(path, "auto", which, options.get("image_size"), params)
    x, t = kit.batch({"sample_size": SIZE})
    with torch.no_grad():
        theirs = Restated(state)(x, t)
        assert theirs.std() > 0.1
        return (found.checkpoint.build(torch.device("cpu"))(x, t) - theirs).abs().max(), found


def test_the_ema_is_imported_unless_the_model_is_asked_for(kit, params, ckpt, states):
    assert difference(kit, params, ckpt, states["ema"])[0] < 1e-5
    assert difference(kit, params, ckpt, states["model"], which="model")[0] < 1e-5
    assert difference(kit, params, ckpt, states["model"])[0] > 0.1


def test_what_is_not_in_the_file_is_as_published(kit, params, ckpt, states):
    _, found = difference(kit, params, ckpt, states["ema"])
    checkpoint = found.checkpoint
    assert found.format == "ddim"
    assert (checkpoint.data.image_size, checkpoint.data.channels) == (SIZE, 3)  # such that it attends at 16x16
    model = checkpoint.model
    assert (model.channels, model.multipliers, model.blocks, model.attention) == (32, [1, 2, 2], 1, [16])
    assert (model.time_features, model.downsample_padding, model.norm_eps) == ("sinusoid", "asymmetric", 1e-6)
    schedule = checkpoint.schedule
    assert (schedule.kind, schedule.T, schedule.beta_1, schedule.beta_T) == ("linear", 1000, 0.0001, 0.02)
    assert (found.sampling["sampler"], found.sampling["eta"], found.sampling["clip_x0"]) == ("ddim", 0.0, False)


def test_the_image_size_may_be_said(kit, params, ckpt):
    model = import_checkpoint(ckpt, "ddim", "ema", 64, params).checkpoint.model
    assert model.attention == [32]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_alone_and_the_format_before_torch_1_6_are_read(kit, params, states, tmp_path, zipped):
    path = tmp_path / "model-790000.ckpt"
    torch.save(states["ema"], path, _use_new_zipfile_serialization=zipped)
    assert difference(kit, params, path, states["ema"])[0] < 1e-5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update({"mid.block_3.norm1.weight": torch.zeros(3)}), r"got unknown mid\.block_3\.norm1\.weight"),
        (
            lambda s: s.update({"norm_out.num_batches_tracked": torch.zeros(3)}),
            "got unknown norm_out.num_batches_tracked",
        ),
        (lambda s: s.update({"norm_out.num_batches_tracked": torch.tensor(3)}), "got torch.int64 at norm_out.num_bat"),
        (lambda s: s.pop("up.0.block.1.conv2.bias"), r"got none for up\.2\.blocks\.1\.conv_2\.bias"),
        (lambda s: s.update({"conv_out.bias": torch.zeros(6)}), r"conv_out\.bias must be \(3,\) .* got \(6,\)"),
        (lambda s: [s.pop(name) for name in list(s) if name.startswith("down.1.block.0")], "must hold every level"),
        (lambda s: s.pop("conv_in.weight"), "must hold a U-Net of at least one level"),
    ],
)
def test_weights_of_another_net_are_refused(params, states, tmp_path, change, words):
    state = dict(states["ema"])
    change(state)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=words) as error:
        import_checkpoint(tmp_path / "odd.pth", "ddim", "ema", None, params)
    assert "\n" not in str(error.value)


def test_a_list_without_ema_is_refused(params, states, tmp_path):
    torch.save([states["model"], {}, 1, 2], tmp_path / "ckpt.pth")
    with pytest.raises(ValueError, match=r"to import the EMA, got 4 items; take --weights model"):
        import_checkpoint(tmp_path / "ckpt.pth", "auto", "ema", None, params)
    assert import_checkpoint(tmp_path / "ckpt.pth", "auto", "model", None, params).checkpoint.weights
