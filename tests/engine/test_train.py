"""Training: bit for bit, whatever interrupts it."""

import pytest
import torch

from ddpm.diffusion.time_sampling import uniform
from ddpm.engine import state, train
from ddpm.engine.batches import Batches, to_images, to_pixels
from ddpm.engine.checkpoint import load_checkpoint, save_checkpoint
from ddpm.nets.init import init_weights

CPU = torch.device("cpu")
GOLDEN = [0.8625, 0.9582, 0.777, 0.5954]  # of steps 1-3, 4-6, 7-9, 10-12


@pytest.mark.parametrize("kill_at", [3, 4, 7, 12])
def test_killed_and_resumed_equals_uninterrupted(tiny, splits, tmp_path, kill_at, run, same, killed):
    whole = run(tiny(), splits, tmp_path / "whole")
    with pytest.raises(killed):
        run(tiny(), splits, tmp_path / "cut", kill_at)
    resumed = run(tiny(), splits, tmp_path / "cut")
    assert resumed.resumed_from == kill_at // 4 * 4 - (4 if kill_at == 12 else 0)
    assert same(whole, resumed)
    assert train.curve_csv(whole.rows) == train.curve_csv(resumed.rows)


def test_the_checkpoint_file_has_the_same_bytes_twice(tiny, splits, tmp_path, run):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, run(tiny(), splits, tmp_path / f"work {name}").checkpoint)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_evaluation_and_checkpoint_cadence_change_no_weight(tiny, splits, tmp_path, run, same):
    base = run(tiny(), splits, tmp_path / "base")
    other = run(
        tiny("train.valid_every=0", "train.checkpoint_every=5", "train.log_every=1"), splits, tmp_path / "other"
    )
    assert same(base, other)


@pytest.mark.parametrize(
    "override", ["train.seed=1", "train.learning_rate=0.01", "model.dropout=0.0", "train.flip=false"]
)
def test_every_such_parameter_changes_the_weights(tiny, splits, tmp_path, override, run, same):
    assert not same(run(tiny(), splits, tmp_path / "base"), run(tiny(override), splits, tmp_path / "other"))


def test_a_damaged_newest_state_falls_back_to_the_one_before(tiny, splits, tmp_path, capsys, run, same, killed):
    whole = run(tiny(), splits, tmp_path / "whole")
    with pytest.raises(killed):
        run(tiny(), splits, tmp_path / "cut", kill_at=9)
    newest = sorted((tmp_path / "cut").glob("step-*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = run(tiny(), splits, tmp_path / "cut")
    assert resumed.resumed_from == 4
    assert "damaged state, falling back" in capsys.readouterr().err
    assert same(whole, resumed)


def test_a_full_disk_while_a_state_is_written_keeps_the_old_one(tiny, splits, tmp_path, monkeypatch, run, killed):
    with pytest.raises(killed):
        run(tiny(), splits, tmp_path / "work", kill_at=6)
    before = sorted(path.name for path in (tmp_path / "work").iterdir())

    def full(content, file):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904  (as torch does it)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device"):
        run(tiny(), splits, tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == before


def test_only_two_states_are_kept(tiny, splits, tmp_path, run, killed):
    with pytest.raises(killed):
        run(tiny("train.checkpoint_every=1"), splits, tmp_path / "work", kill_at=7)
    assert len(list((tmp_path / "work").iterdir())) == state.KEEP


def test_a_loss_that_is_not_finite_stops_and_says_where(tiny, splits, tmp_path, run):
    with pytest.raises(ValueError, match=r"train: the loss is (nan|inf) within the .* \(learning rate .*\); lower"):
        run(tiny("train.learning_rate=1e30", "train.clip_norm=1e30"), splits, tmp_path)


def test_the_curve_has_means_and_held_out_losses(tiny, splits, tmp_path, run):
    rows = run(tiny("train.steps=11"), splits, tmp_path).rows
    assert [row["step"] for row in rows] == [3, 6, 9, 11]
    assert ["valid_loss" in row for row in rows] == [False, True, False, True]
    assert rows[0]["learning_rate"] == 0.001
    every = run(tiny("train.steps=11", "train.log_every=1"), splits, tmp_path / "every").rows
    assert rows[1]["loss"] == pytest.approx(sum(row["loss"] for row in every[3:6]) / 3)
    assert rows[3]["loss"] == pytest.approx(sum(row["loss"] for row in every[9:11]) / 2)


def test_training_lowers_the_held_out_loss_for_every_target(tiny, splits, tmp_path, run):
    for target in ("eps", "x0", "v"):
        rows = run(tiny(f"objective.target={target}", "train.steps=60"), splits, tmp_path / target).rows
        held_out = [row["valid_loss"] for row in rows if "valid_loss" in row]
        assert held_out[-1] < 0.8 * held_out[0]


def test_golden_losses(tiny, splits, tmp_path, run):
    """Regenerate on purpose only: beside it stand the properties above."""
    rows = run(tiny(), splits, tmp_path).rows
    found = [round(row["loss"], 4) for row in rows]
    assert found == pytest.approx(GOLDEN, abs=2e-3)


def batches(splits, **changes):
    def times(step, index):
        return uniform(0, step, index, 20), torch.ones(len(index))

    settings = {"seed": 0, "batch": 8, "times": times, "null_label": 10, "label_dropout": 0.5, "flip": True}
    return Batches(splits[0].images, splits[0].labels, **{**settings, "offset_noise": 0.0, "device": CPU, **changes})


def test_every_epoch_shows_every_image_once(splits):
    source = batches(splits, batch=7, flip=False, label_dropout=0.0)
    seen = torch.cat([to_pixels(source(step).x0) for step in range(1, 31)])  # 210 = 7 epochs of 30
    for epoch in seen.split(30):
        assert {image.numpy().tobytes() for image in epoch} == {image.tobytes() for image in splits[0].images}


def test_a_batch_is_a_function_of_its_step(splits):
    first, second = batches(splits), batches(splits)
    for step in (5, 1):
        for a, b in zip(first(step), second(step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(first(1).eps, first(2).eps)


def test_label_dropout_has_its_rate(splits):
    dropped = torch.cat([batches(splits)(step).labels for step in range(1, 101)]) == 10
    assert abs(float(dropped.float().mean()) - 0.5) < 0.07


def test_pixels_round_trip_and_are_clipped():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    images = to_images(pixels, CPU)
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert torch.equal(to_pixels(images), pixels)
    assert torch.equal(
        to_pixels(images * 3),
        torch.where(pixels < 128, 0, 255).where((images.permute(0, 2, 3, 1) * 3).abs() >= 1, to_pixels(images * 3)),
    )


def test_ema_ramps_up_and_then_decays(tiny):
    from ddpm.engine.build import build_net

    nets = [build_net(tiny().data, tiny().model, tiny().objective) for _ in range(2)]
    for seed, net in enumerate(nets):
        init_weights(net, seed)
    ema, net = nets
    name, before = next((name, tensor.clone()) for name, tensor in ema.named_parameters() if tensor.ndim == 4)
    train.update_ema(ema, net, 0.5, step=1)  # (1 + 1) / (10 + 1) < 0.5
    torch.testing.assert_close(ema.state_dict()[name], 2 / 11 * before + 9 / 11 * net.state_dict()[name])
    before = ema.state_dict()[name].clone()
    train.update_ema(ema, net, 0.5, step=1000)
    torch.testing.assert_close(ema.state_dict()[name], 0.5 * before + 0.5 * net.state_dict()[name])


def test_a_checkpoint_explains_itself(tiny, splits, tmp_path, run):
    trained = run(tiny(), splits, tmp_path / "work")
    save_checkpoint(tmp_path / "ema.safetensors", trained.checkpoint)
    loaded = load_checkpoint(tmp_path / "ema.safetensors")
    assert (loaded.data, loaded.schedule, loaded.model) == (tiny().data, tiny().schedule, tiny().model)
    assert loaded.step == 12
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in trained.checkpoint.weights.items())


@pytest.mark.parametrize("damage", ["cut", "header", "foreign", "missing"])
def test_a_damaged_checkpoint_is_refused_in_one_line(tiny, splits, tmp_path, damage, run):
    path = tmp_path / "ema.safetensors"
    save_checkpoint(path, run(tiny("train.steps=1"), splits, tmp_path / "work").checkpoint)
    content = path.read_bytes()
    damaged = {
        "cut": content[:5000],
        "header": b"\xff" * 8 + content[8:],
        "foreign": content.replace(b"ddpm-2", b"ddpm-9"),
    }
    path.unlink() if damage == "missing" else path.write_bytes(damaged[damage])
    with pytest.raises(
        ValueError, match=r"damaged checkpoint|must be a checkpoint of format|no such checkpoint"
    ) as caught:
        load_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
