"""Training: bit for bit, whatever interrupts it."""

import pytest
import torch

from ddpm.diffusion.time_sampling import uniform
from ddpm.engine import train
from ddpm.engine.batches import Batches, to_images, to_pixels
from ddpm.engine.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
OFTEN = ["train.checkpoint_every=2", "train.valid_every=0"]
GOLDEN = [0.8624, 0.9587, 0.7833, 0.5955]  # of steps 1-3, 4-6, 7-9, 10-12


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
        run(tiny(*OFTEN), splits, tmp_path / "work", kill_at=6)
    before = sorted(path.name for path in (tmp_path / "work").iterdir())

    def full(content, file):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904  (as torch does it)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device"):  # by the next state, which waits for this one
        run(tiny(*OFTEN), splits, tmp_path / "work")
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == before


@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_states_are_kept_as_were_asked_for(tiny, splits, tmp_path, run, killed, keep):
    with pytest.raises(killed):
        run(tiny("train.checkpoint_every=1", f"train.keep_states={keep}"), splits, tmp_path / "work", kill_at=7)
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "work").glob("step-*.pt"))
    assert steps == list(range(7 - keep, 7)) or steps == list(range(8 - keep, 8))


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
    settings |= {"offset_noise": 0.0, "device": CPU, "layout": torch.contiguous_format, **changes}
    return Batches(splits[0].images, splits[0].labels, **{"parts": [range(settings["batch"])], **settings})


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


@pytest.mark.parametrize("parts", [[range(0, 4), range(4, 8)], [range(0, 2), range(2, 7), range(7, 8)]])
def test_the_parts_of_a_batch_are_the_batch(splits, parts):
    whole, cut = batches(splits), batches(splits, parts=parts)
    for step in (1, 4, 2):  # 8 images a step of 30: step 4 spans two epochs
        pieces = [cut(step, part) for part in range(len(parts))]
        for name, values in whole(step)._asdict().items():
            assert torch.equal(values, torch.cat([getattr(piece, name) for piece in pieces])), name


def test_label_dropout_has_its_rate(splits):
    dropped = torch.cat([batches(splits)(step).labels for step in range(1, 101)]) == 10
    assert abs(float(dropped.float().mean()) - 0.5) < 0.07


def test_pixels_round_trip_and_are_clipped():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    images = to_images(pixels, CPU, torch.contiguous_format)
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    assert torch.equal(to_pixels(images), pixels)
    assert torch.equal(
        to_pixels(images * 3),
        torch.where(pixels < 128, 0, 255).where((images.permute(0, 2, 3, 1) * 3).abs() >= 1, to_pixels(images * 3)),
    )


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
        "foreign": content.replace(b"ddpm-3", b"ddpm-9"),
    }
    path.unlink() if damage == "missing" else path.write_bytes(damaged[damage])
    with pytest.raises(
        ValueError, match=r"damaged checkpoint|must be a checkpoint of format|no such checkpoint"
    ) as caught:
        load_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1
