"""Choosing a checkpoint by metric: the one whose images are the reference wins, and no work is done twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddpm.engine import choose
from ddpm.engine.build import build_net
from ddpm.engine.checkpoint import Checkpoint, save_checkpoint
from ddpm.engine.choose import Candidate, Protocol
from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import distance
from ddpm.engine.features import image_set
from ddpm.engine.sample import sample_images
from ddpm.metrics import record
from ddpm.metrics.features import build_extractor
from ddpm.metrics.statistics import Statistics

TEAM = alone(torch.device("cpu"))
EXTRACTOR = build_extractor("pixels", weights=None, download=False, device=TEAM.device)


def silent(num_images: int) -> None:
    """No progress bar."""


def net(params, seed: int) -> Checkpoint:
    """A checkpoint with made-up weights, which draws something else for every seed."""
    torch.manual_seed(seed)
    weights = build_net(params.data, params.model, params.objective).state_dict()
    weights = {name: torch.randn_like(tensor) * 0.1 for name, tensor in weights.items()}
    return Checkpoint(
        params.data, params.schedule, params.model, params.objective, 10 * seed, weights, f"decay-0.{seed}"
    )


@pytest.fixture
def params(tiny):
    return tiny("model.multipliers=[1]", "model.attention=[]")


@pytest.fixture
def folder(tmp_path, params):
    """Three checkpoints, and one of them twice."""
    for seed in (1, 2, 3):
        save_checkpoint(tmp_path / "averages" / f"decay-0.{seed}-step-{10 * seed:09d}.safetensors", net(params, seed))
    save_checkpoint(tmp_path / "averages" / "best.safetensors", net(params, 1))
    return tmp_path / "averages"


@pytest.fixture
def drawn(tmp_path, params):
    """Draws the images of a checkpoint by the engine alone."""

    def draw(checkpoint: Checkpoint) -> np.ndarray:
        place = tmp_path / f"drawn-{checkpoint.step}"
        place.mkdir()
        return np.load(sample_images(checkpoint, params.sample, place, TEAM, silent).path, allow_pickle=False)

    return draw


@pytest.fixture
def protocol(params, drawn):
    """The reference is what the checkpoint of seed 2 draws."""
    rows = EXTRACTOR.extract(drawn(net(params, 2))).astype(np.float64)
    identity = {"features": EXTRACTOR.name, "family": EXTRACTOR.family, "weights_sha256": EXTRACTOR.weights_sha256}
    identity |= {"data_sha256": "", "crop": "none", "size": 8, "split": "train"}
    statistics = Statistics(rows.mean(0), np.cov(rows, rowvar=False), len(rows), identity)
    return Protocol(params.sample, statistics, "ab" * 32, EXTRACTOR, "own", 5)


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_the_checkpoint_that_draws_the_reference_wins(folder, protocol, work, params, drawn):
    ticks: list[int] = []
    paths = choose.find_candidates(folder, protocol, TEAM)
    found = [choose.measure(path, protocol, work, TEAM, ticks.append) for path in paths]
    assert [(c.file, c.average, c.step) for c in found] == [
        ("best.safetensors", "decay-0.1", 10),
        ("decay-0.1-step-000000010.safetensors", "decay-0.1", 10),
        ("decay-0.2-step-000000020.safetensors", "decay-0.2", 20),
        ("decay-0.3-step-000000030.safetensors", "decay-0.3", 30),
    ]
    chosen = choose.winner(found)
    assert chosen.step == 20
    assert chosen.record["value"] == pytest.approx(0, abs=1e-6)
    assert min(c.record["value"] for c in found if c is not chosen) > 0.01
    images = image_set(drawn(net(params, 3)))
    about = record.Protocol("own", "uint8 npy", images.sha256, protocol.reference_sha256)
    expected = distance(EXTRACTOR.extract(images.images[images.order]), protocol.statistics, EXTRACTOR, about)
    assert found[3].record == expected
    assert sum(ticks) == 4 * params.sample.num_images
    content = choose.content(found, params.sample)
    assert content["chosen"] == "decay-0.2-step-000000020.safetensors"
    assert content["candidates"][3]["record"] == expected
    assert content["sample"]["num_images"] == params.sample.num_images


def test_a_killed_run_goes_on_and_equal_files_are_measured_once(folder, protocol, work, killed, monkeypatch):
    paths, drawn = choose.find_candidates(folder, protocol, TEAM), []

    def counted(checkpoint, *others):
        drawn.append(checkpoint.step)
        return sample_images(checkpoint, *others)

    def die(num_images: int) -> None:
        if num_images:
            raise killed

    monkeypatch.setattr(choose, "sample_images", counted)
    whole = [choose.measure(path, protocol, work, TEAM, silent) for path in paths[:3]]
    assert drawn == [10, 20]  # best.safetensors has the bytes of the next one
    with pytest.raises(killed):
        choose.measure(paths[3], protocol, work, TEAM, die)
    ticks: list[int] = []
    again = [choose.measure(path, protocol, work, TEAM, ticks.append) for path in paths]
    assert again[:3] == whole
    assert drawn == [10, 20, 30, 30]
    assert ticks == [12, 12, 12, 12]  # of the last, all images were there
    assert sorted(path.suffix for path in work.iterdir()) == [".json"] * 3  # the images are gone


def test_ties_go_to_the_fewest_steps_and_the_table_ranks():
    def candidate(step: int, value: float) -> Candidate:
        return Candidate(f"{step}", "", "width-0.05", step, {"name": "frechet_pixels@12", "value": value})

    found = [candidate(30, 0.5), candidate(20, 0.25), candidate(10, 0.25)]
    assert choose.winner(found) is found[2]
    head, *lines = choose.table(found).splitlines()
    assert head.split() == ["average", "step", "frechet_pixels@12"]
    assert [line.split() for line in lines] == [
        ["width-0.05", "10", "0.2500"],
        ["width-0.05", "20", "0.2500"],
        ["width-0.05", "30", "0.5000"],
    ]


def test_what_cannot_be_measured_is_refused_before_anything_is_drawn(folder, protocol, tmp_path, tiny):
    with pytest.raises(
        ValueError, match=r"nowhere: must hold at least one checkpoint \(.safetensors\), got none; `pyt"
    ):
        choose.find_candidates(tmp_path / "nowhere", protocol, TEAM)
    too_many = replace(protocol, sample=protocol.sample.model_copy(update={"steps": 21}))
    with pytest.raises(ValueError, match=r"sample.steps must be at most the checkpoint's T = 20, got 21"):
        choose.find_candidates(folder, too_many, TEAM)
    large = tiny("data.image_size=16", "model.multipliers=[1]", "model.attention=[]")
    save_checkpoint(folder / "large.safetensors", net(large, 4))
    with pytest.raises(
        ValueError, match=r"large.safetensors: images must be 8x8 like the reference, got 16x16; name anoth"
    ):
        choose.find_candidates(folder, protocol, TEAM)
    (folder / "damaged.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="damaged checkpoint"):
        choose.find_candidates(folder, protocol, TEAM)
