"""Checkpoints of KimRass/DDPM, against their forward pass restated from the names in the file."""

import math

import pytest
import torch
import torch.nn.functional as F

from ddpm.engine.interop import import_checkpoint

WIDTHS, BLOCKS, ATTENDS, SIZE, EMBEDDING = [32, 64, 64], 2, 1, 16, 128
TABLE = "time_embedding.timembedding.0.weight"


def sinusoids():
    """1000 rows of sine and cosine taking turns."""
    rows = torch.zeros(1000, WIDTHS[0])
    for column in range(WIDTHS[0]):
        angle = torch.arange(1000.0) * 10000 ** (-(column - column % 2) / WIDTHS[0])
        rows[:, column] = angle.cos() if column % 2 else angle.sin()
    return rows


def random_state(seed):
    """Weights under their names: flat lists, in which a change of resolution stands between the blocks."""
    generator, state = torch.Generator().manual_seed(seed), {TABLE: sinusoids()}

    def layer(name, out, *fan_in):
        state[f"{name}.weight"] = torch.randn(out, *fan_in, generator=generator) * math.prod(fan_in) ** -0.5
        state[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.2

    def norm(name, width):
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(width, generator=generator)

    def block(name, width, out, attends):
        norm(f"{name}.block1.0", width)
        layer(f"{name}.block1.2", out, width, 3, 3)
        layer(f"{name}.temb_proj.1", out, EMBEDDING)
        norm(f"{name}.block2.0", out)
        layer(f"{name}.block2.3", out, out, 3, 3)
        if width != out:
            layer(f"{name}.shortcut", out, width, 1, 1)
        if attends:
            norm(f"{name}.attn.group_norm", out)
            for part in ("proj_q", "proj_k", "proj_v", "proj"):
                layer(f"{name}.attn.{part}", out, out, 1, 1)

    layer("time_embedding.timembedding.1", EMBEDDING, WIDTHS[0])
    layer("time_embedding.timembedding.3", EMBEDDING, EMBEDDING)
    layer("head", WIDTHS[0], 3, 3, 3)
    skips, width, i = [WIDTHS[0]], WIDTHS[0], 0
    for level, out in enumerate(WIDTHS):
        for _ in range(BLOCKS):
            block(f"downblocks.{i}", width, out, level == ATTENDS)
            width, i = out, i + 1
            skips.append(width)
        if level != len(WIDTHS) - 1:
            layer(f"downblocks.{i}.main", width, width, 3, 3)
            i += 1
            skips.append(width)
    block("middleblocks.0", width, width, True)
    block("middleblocks.1", width, width, False)
    i = 0
    for level in reversed(range(len(WIDTHS))):
        for _ in range(BLOCKS + 1):
            block(f"upblocks.{i}", width + skips.pop(), WIDTHS[level], level == ATTENDS)
            width, i = WIDTHS[level], i + 1
        if level != 0:
            layer(f"upblocks.{i}.main", width, width, 3, 3)
            i += 1
    norm("tail.0", width)
    layer("tail.2", 3, width, 3, 3)
    return state


def restated(state, x, t):
    """Their net, computed from the names of a state dict."""

    def of(name):
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def block(name, x):
        h = F.conv2d(F.silu(F.group_norm(x, 32, *of(f"{name}.block1.0"))), *of(f"{name}.block1.2"), padding=1)
        h = h + F.linear(F.silu(temb), *of(f"{name}.temb_proj.1"))[:, :, None, None]
        h = F.conv2d(F.silu(F.group_norm(h, 32, *of(f"{name}.block2.0"))), *of(f"{name}.block2.3"), padding=1)
        h = h + (F.conv2d(x, *of(f"{name}.shortcut")) if f"{name}.shortcut.weight" in state else x)
        if f"{name}.attn.proj.weight" not in state:
            return h
        normal = F.group_norm(h, 32, *of(f"{name}.attn.group_norm"))
        q, k, v = (F.conv2d(normal, *of(f"{name}.attn.proj_{part}")).flatten(2) for part in "qkv")
        scores = (q.transpose(1, 2) @ k * q.shape[1] ** -0.5).softmax(2)
        return h + F.conv2d((v @ scores.transpose(1, 2)).view_as(h), *of(f"{name}.attn.proj"))

    temb = F.linear(state[TABLE][t], *of("time_embedding.timembedding.1"))
    temb = F.linear(F.silu(temb), *of("time_embedding.timembedding.3"))
    xs = [F.conv2d(x, *of("head"), padding=1)]
    for i in range(len(WIDTHS) * (BLOCKS + 1) - 1):
        name = f"downblocks.{i}"
        halved = f"{name}.main.weight" in state
        xs.append(F.conv2d(xs[-1], *of(f"{name}.main"), stride=2, padding=1) if halved else block(name, xs[-1]))
    h = block("middleblocks.1", block("middleblocks.0", xs[-1]))
    for i in range(len(WIDTHS) * (BLOCKS + 2) - 1):
        name = f"upblocks.{i}"
        if f"{name}.main.weight" in state:
            h = F.conv2d(F.interpolate(h, scale_factor=2), *of(f"{name}.main"), padding=1)
        else:
            h = block(name, torch.cat([h, xs.pop()], 1))
    assert not xs
    return F.conv2d(F.silu(F.group_norm(h, 32, *of("tail.0"))), *of("tail.2"), padding=1)


@pytest.fixture(scope="module")
def state():
    return random_state(1)


def test_the_table_restated_here_is_theirs_and_ours(state):
    # Two independent ways to the same numbers: powers column by column here, exponentials of a table there.
    assert state[TABLE][0].tolist() == [0.0, 1.0] * (WIDTHS[0] // 2)
    assert state[TABLE][7, 2] == pytest.approx(math.sin(7 * 10000 ** (-2 / WIDTHS[0])), abs=1e-5)


@pytest.mark.parametrize("prefix", ["", "model.", "_orig_mod.model."])
@pytest.mark.parametrize("nested", [False, True])
def test_every_way_in_which_they_save_gives_their_output(kit, params, state, tmp_path, prefix, nested):
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    content = {"epoch": 3, "model": wrapped, "optimizer": {"state": {}}, "min_val_loss": 0.1} if nested else wrapped
    torch.save(content, tmp_path / "epoch=29.pth")
    found = import_checkpoint(tmp_path / "epoch=29.pth", "auto", "ema", SIZE, params)
    x, t = kit.batch({"sample_size": SIZE})
    with torch.no_grad():
        kit.assert_alike(found.checkpoint.build(torch.device("cpu"))(x, t), restated(state, x, t))
    assert found.format == "kimrass"
    model = found.checkpoint.model
    assert (model.channels, model.multipliers, model.blocks, model.attention) == (32, [1, 2, 2], 2, [8])
    assert (model.time_features, model.downsample_padding, model.norm_eps) == ("vaswani", "symmetric", 1e-5)
    assert (found.sampling["variance"], found.sampling["clip_x0"]) == ("fixed_large", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s.update({"downblocks.0.block1.1.weight": torch.zeros(3)}),
            "unknown downblocks.0.block1.1.weight",
        ),
        (lambda s: s.update({"middleblocks.1.attn.proj.bias": torch.zeros(3)}), "got unknown middleblocks.1.attn.proj"),
        (lambda s: s.pop("middleblocks.0.attn.proj.bias"), "got none for middle_attention.projection.bias"),
        (lambda s: s.update({TABLE: s[TABLE].flip(0)}), "must be the sinusoids of 1000 steps"),
        (lambda s: s.update({TABLE: s[TABLE][:500]}), "must be the sinusoids of 1000 steps"),
        (lambda s: s.pop(TABLE), "must hold the table"),
    ],
)
def test_weights_of_another_net_are_refused(params, state, tmp_path, change, words):
    changed = dict(state)
    change(changed)
    torch.save(changed, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=words) as error:
        import_checkpoint(tmp_path / "odd.pth", "kimrass", "ema", SIZE, params)
    assert "\n" not in str(error.value)


def test_the_image_size_must_be_said(params, state, tmp_path):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="--image-size must be given, got none"):
        import_checkpoint(tmp_path / "a.pth", "auto", "ema", None, params)
