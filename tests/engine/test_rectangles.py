"""Images that are not square, from training to the figures: 8 pixels high and 16 wide."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm.data.store import Split, images_file, labels_file, write_images, write_labels
from ddpm.engine import sample as engine
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ddpm.engine.choose import Protocol, find_candidates, measure
from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import require_comparable
from ddpm.engine.invert import invert_images
from ddpm.engine.reference import identity_of, write_foreign, write_reference
from ddpm.engine.sample_manifest import describe
from ddpm.engine.train import require_data
from ddpm.figures.material import Material, Places
from ddpm.figures.stage import draw_figures
from ddpm.metrics.features import build_extractor
from ddpm.metrics.foreign import ForeignStatistics
from ddpm.metrics.statistics import load_statistics

CPU = torch.device("cpu")
SHAPE, ZOOM, PADDING = (8, 16, 1), 4, 6
EXTRACTOR = build_extractor("pixels", weights=None, download=False, device=CPU)


def silent(num_images: int) -> None:
    """No progress bar."""


@pytest.fixture
def wide(tiny):
    """Parameters of the tiny experiment for images twice as wide; digits are square, so no file says this of them."""

    def make(*overrides):
        params = tiny(f"figures.zoom={ZOOM}", *overrides)
        return params.model_copy(update={"data": params.data.model_copy(update={"image_width": 16})})

    return make


@pytest.fixture
def wide_splits(splits):
    """Each image beside its mirror image."""
    return tuple(Split(np.concatenate([each.images, each.images[:, :, ::-1]], 2), each.labels) for each in splits)


@pytest.fixture
def trained(wide, wide_splits, run, tmp_path):
    return run(wide(), wide_splits, tmp_path / "work")


def draw(checkpoint: Checkpoint, sample, folder, chosen=None):
    folder.mkdir()
    return engine.sample_images(checkpoint, sample, folder, alone(CPU), silent, chosen)


def statistics_of(images, out):
    """Reference statistics of images as `ddpm reference` writes them."""
    manifest = {"source": "arrays", "crop": "none", "resample": "bicubic", "size": [8, 16]}
    manifest["splits"] = {"train": {"sha256": "", "selection": "train"}}
    rows = EXTRACTOR.extract(images)
    write_reference(out, rows, rows.shape[1], identity_of(manifest, "train", EXTRACTOR))
    return load_statistics(out)


def test_a_run_gives_previews_and_samples_of_the_shape_of_its_images(trained, wide, tmp_path):
    assert trained.checkpoint.data.shape == SHAPE
    assert [images.shape for _, images in sorted(trained.previews.items())] == [(2, *SHAPE)] * 2
    save_checkpoint(tmp_path / "ema.safetensors", trained.checkpoint)
    loaded = load_checkpoint(tmp_path / "ema.safetensors")
    drawn = draw(loaded, wide().sample, tmp_path / "drawn")
    images = np.load(drawn.path)
    assert images.shape == (12, *SHAPE)
    assert images.std() > 1
    engine.save_labels(tmp_path / "drawn" / "labels.npy", loaded, 0, 12)
    about = describe(loaded, wide().sample, tmp_path / "ema.safetensors", tmp_path / "drawn", drawn.evaluations)
    assert about["shape"] == [8, 16, 1]


def test_killed_and_resumed_equals_uninterrupted(trained, wide, wide_splits, run, same, killed, tmp_path):
    with pytest.raises(killed):
        run(wide(), wide_splits, tmp_path / "cut", 7)
    resumed = run(wide(), wide_splits, tmp_path / "cut")
    assert resumed.resumed_from == 4
    assert same(trained, resumed)


def test_neither_batch_nor_range_changes_a_byte(trained, wide, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CPU_BLOCK_IMAGES", 4)
    whole = np.load(draw(trained.checkpoint, wide("sample.batch=64").sample, tmp_path / "whole").path)
    single = np.load(draw(trained.checkpoint, wide("sample.batch=1").sample, tmp_path / "single").path)
    part = np.load(draw(trained.checkpoint, wide().sample, tmp_path / "part", (3, 10)).path)
    assert (single == whole).all()
    assert (part == whole[3:10]).all()


@pytest.mark.parametrize(
    ("height", "width", "images"), [(8, 16, 64), (16, 64, 16), (64, 16, 16), (32, 48, 10), (100, 50, 3), (8, 1024, 2)]
)
def test_the_block_follows_from_the_pixels_of_the_image(height, width, images):
    assert {engine.block_images(height, width, batch, CPU) for batch in (1, 7, 500)} == {images}


def test_figures_are_as_wide_as_their_images(trained, wide, wide_splits, tmp_path):
    params, drawn = wide(), draw(trained.checkpoint, wide().sample, tmp_path / "drawn")
    places = Places(**{field.name: tmp_path / field.name for field in fields(Places)})
    places = replace(places, samples=drawn.path)
    save_checkpoint(places.checkpoint, trained.checkpoint)
    places.metrics.write_text("{}")
    places.data.mkdir()
    write_images(places.data / images_file("train"), wide_splits[0].images.shape, [wide_splits[0].images])
    write_labels(places.data / labels_file("train"), wide_splits[0].labels)
    names = ["samples", "comparison", "schedule", "forward", "denoising"]
    paths = draw_figures(Material(params.figures, params.sample, places, CPU), names, tmp_path / "figures", silent)
    assert [path.stem for path in paths] == names
    rows, columns = params.figures.grid_rows, params.figures.grid_columns
    with Image.open(paths[0]) as picture:
        assert picture.size == (columns * (16 * ZOOM + PADDING) + PADDING, rows * (8 * ZOOM + PADDING) + PADDING)


def test_images_are_inverted(trained, wide_splits):
    found = invert_images(trained.checkpoint, wide_splits[1], 3, 4, 2, CPU, silent)
    assert found.latents.shape == (3, 1, 8, 16)
    assert found.columns.shape == (3, 3, *SHAPE)
    assert (found.columns[0] == wide_splits[1].images[:3]).all()


def test_checkpoints_are_measured_against_images_of_their_shape(trained, wide, wide_splits, tiny, tmp_path):
    reference = statistics_of(wide_splits[0].images, tmp_path / "reference.npz")
    assert reference.identity["size"] == [8, 16]
    assert reference.sides == (8, 16)
    protocol = Protocol(wide().sample, reference, "ab" * 32, EXTRACTOR, "own", 5)
    save_checkpoint(tmp_path / "averages" / "a.safetensors", trained.checkpoint)
    (path,) = find_candidates(tmp_path / "averages", protocol, alone(CPU))
    found = measure(path, protocol, tmp_path / "work", alone(CPU), silent)
    assert found.record["value"] > 0
    assert found.record["protocol"]["size"] == [8, 16]
    lying = trained.checkpoint.data.model_copy(update={"image_size": 16, "image_width": 8})
    for data, shape in ((tiny().data, "8x8"), (lying, "16x8")):
        save_checkpoint(tmp_path / "averages" / "other.safetensors", replace(trained.checkpoint, data=data))
        with pytest.raises(ValueError, match=f"images must be 8x16 like the reference, got {shape}; name another"):
            find_candidates(tmp_path / "averages", protocol, alone(CPU))


def test_samples_of_another_shape_are_not_compared(wide_splits, tmp_path):
    reference = statistics_of(wide_splits[0].images, tmp_path / "reference.npz")
    require_comparable((4, *SHAPE), 4, reference, EXTRACTOR)
    with pytest.raises(ValueError, match="samples must be 8x16 like the reference, got 16x8; sample from a model of"):
        require_comparable((4, 16, 8, 1), None, reference, EXTRACTOR)


@pytest.mark.parametrize(("width", "size", "sides"), [(0, 8, (8, 8)), (8, 8, (8, 8)), (16, [8, 16], (8, 16))])
def test_statistics_of_others_have_the_size_that_prepared_images_have(tiny, tmp_path, width, size, sides):
    params = tiny("reference.features=fid_768")
    params = params.model_copy(update={"data": params.data.model_copy(update={"image_width": width})})
    foreign = ForeignStatistics("mu/sigma", np.zeros(768), np.eye(768), 100, None, "ab" * 32)
    write_foreign(tmp_path / "theirs.npz", foreign, "pytorch", params, None)
    found = load_statistics(tmp_path / "theirs.npz")
    assert (found.identity["size"], found.sides) == (size, sides)


def test_images_of_another_shape_are_not_trained_on(wide, wide_splits, splits, tmp_path):
    require_data(wide(), tmp_path, *wide_splits)
    with pytest.raises(ValueError, match=r"images must be \(8, 16, 1\) \(height, width, channels of section data\), g"):
        require_data(wide(), tmp_path, *splits)
