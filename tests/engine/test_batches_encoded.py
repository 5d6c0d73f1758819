"""Every reader of prepared images sees the same bits, whether they are stored as an array or encoded."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ddpm.data import encoded
from ddpm.data.encoded import EncodedImages
from ddpm.data.store import Split, open_split, write_images, write_labels
from ddpm.diffusion.time_sampling import uniform
from ddpm.engine import batches as module
from ddpm.engine.batches import Batches, Items, Resident, Streamed
from ddpm.engine.build import build_schedule
from ddpm.engine.distributed import alone
from ddpm.engine.features import image_set, stored_features
from ddpm.engine.held_out import held_out_loss
from ddpm.engine.samples_in import SEED0, real_images
from ddpm.engine.unguided import image_batches, require_images
from ddpm.metrics.features import build_extractor

CPU = torch.device("cpu")
TEAM = alone(CPU)
COUNT = 30

Stores = tuple[Split, Split]


@pytest.fixture
def stores(tmp_path: Path, write_encoded: Callable[[Path, NDArray[np.uint8]], None]) -> Callable[..., Stores]:
    """The same images, 8 pixels wide, as an array and encoded; with a number of channels and a height."""

    def make(channels: int, height: int = 12) -> Stores:
        images = np.random.default_rng(channels).integers(0, 256, (COUNT, height, 8, channels), dtype=np.uint8)
        folders = tmp_path / "array", tmp_path / "encoded"
        for folder in folders:
            folder.mkdir()
            write_labels(folder / "train_labels.npy", np.arange(COUNT) % 10)
        write_images(folders[0] / "train.npy", images.shape, [images])
        write_encoded(folders[1] / "train.npy", images)
        found = open_split(folders[0], "train"), open_split(folders[1], "train")
        assert isinstance(found[0].images, np.memmap)
        assert isinstance(found[1].images, EncodedImages)
        return found

    return make


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the images that are decoded from now on."""
    numbers: list[int] = []
    original = EncodedImages._image

    def counted(self: EncodedImages, number: int) -> NDArray[np.uint8]:
        numbers.append(number)
        return original(self, number)

    monkeypatch.setattr(EncodedImages, "_image", counted)
    return numbers


def batches(split: Split, **changes) -> Batches:
    def times(step, index):
        return uniform(0, step, index, 20), torch.ones(len(index))

    settings = {"seed": 0, "batch": 8, "times": times, "null_label": 10, "label_dropout": 0.5, "flip": True}
    settings |= {"offset_noise": 0.0, "device": CPU, "layout": torch.contiguous_format, **changes}
    return Batches(split.images, split.labels, **{"parts": [range(settings["batch"])], **settings})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("parts", [[range(8)], [range(0, 3), range(3, 8)]])
@pytest.mark.parametrize("threads", [1, 2])
def test_batches(stores, channels, flip, parts, threads, monkeypatch):
    monkeypatch.setattr(encoded, "THREADS", threads)
    array, packed = (batches(split, flip=flip, parts=parts) for split in stores(channels))
    for step in (1, 2, 3, 4, 5, 11, 4):  # 8 images a step of 30: step 4 spans two epochs
        for part in range(len(parts)):
            for name, values in array(step, part)._asdict().items():
                assert torch.equal(values, getattr(packed(step, part), name)), (step, name)


def test_the_next_batch_and_no_more_is_decoded_ahead(stores, decoded):
    source = batches(stores(3)[1])
    for step in (1, 2, 3):
        source(step)
        source.pixels.ahead[1].result()
        assert len(decoded) == 8 * (step + 1)


@pytest.mark.parametrize("moved", [1, 7, 1024])
def test_images_in_the_memory_of_the_device(stores, moved, monkeypatch):
    monkeypatch.setattr(module, "MOVED_IMAGES", moved)
    order = torch.from_numpy(np.random.default_rng(0).permutation(COUNT))
    array, packed = stores(3)
    expected = torch.from_numpy(array.images[order.numpy()])
    for split in (array, packed):
        assert torch.equal(Resident(split.images, CPU)(Items(order, order), None), expected)
        assert torch.equal(Streamed(split.images, CPU)(Items(order, order), lambda: Items(order, order)), expected)


def test_damage_stops_the_training(stores, tmp_path):
    stores(3)
    path = tmp_path / "encoded" / "train.npy"
    content = bytearray(path.read_bytes())
    content[encoded.HEADER_BYTES + 40] ^= 1
    path.write_bytes(content)
    source = batches(open_split(path.parent, "train"))
    with pytest.raises(ValueError, match=r"train.npy: image 0 must be whole, got another checksum; run"):
        for step in range(1, 5):  # an epoch, read ahead by another thread
            source(step)


@pytest.mark.parametrize("channels", [1, 3])
def test_held_out_loss(stores, tiny, channels):
    def predict(x_t, t, labels, keys):
        return (0.3 * x_t + 0.1 * x_t.flip(-1)).sin() + (0.01 * (t + labels)).reshape(-1, 1, 1, 1).float()

    params = tiny("train.valid_images=25", "train.batch=4")
    schedule = build_schedule(params.schedule, CPU)
    array, packed = (held_out_loss(params, split, schedule, predict, TEAM)() for split in stores(channels))
    assert array == packed


def test_held_out_loss_decodes_what_it_shows(stores, tiny, decoded):
    params = tiny("train.valid_images=6", "train.batch=3")
    held_out_loss(params, stores(1)[1], build_schedule(params.schedule, CPU), lambda *_: None, TEAM)
    assert sorted(decoded) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("channels", [1, 3])
def test_features(stores, channels, tmp_path):
    pixels = build_extractor("pixels", weights=None, download=False, device=CPU)
    sets = [image_set(split.images) for split in stores(channels)]
    assert sets[0].sha256 == sets[1].sha256
    assert (sets[0].order == sets[1].order).all()
    rows = [
        stored_features(some, pixels, 7, tmp_path, f"{number}", TEAM, lambda count: None)
        for number, some in enumerate(sets)
    ]
    assert rows[0].tobytes() == rows[1].tobytes()
    assert len(np.unique(rows[0], axis=0)) == COUNT


def test_a_set_of_the_first_images_decodes_no_others_and_never_all_at_once(stores, decoded, monkeypatch):
    monkeypatch.setattr(EncodedImages, "__array__", None)
    array, packed = (image_set(split.images[:5]) for split in stores(3))
    assert array.sha256 == packed.sha256
    assert sorted(decoded) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("features", ["pixels", SEED0])
def test_real_images(stores, features):
    array, packed = (np.asarray(real_images(split.images, features)) for split in stores(3))
    np.testing.assert_array_equal(array, packed)


@pytest.mark.parametrize("classes", [0, 10])
def test_images_of_likelihood_and_inversion(stores, classes, decoded):
    checkpoint = SimpleNamespace(
        data=SimpleNamespace(shape=(12, 8, 3)), model=SimpleNamespace(num_classes=classes, channels=32)
    )
    array, packed = stores(3)
    require_images(checkpoint, packed.images, COUNT, "data")
    with pytest.raises(ValueError, match="--num-images must be at most 30"):
        require_images(checkpoint, packed.images, COUNT + 1, "data")
    found = [list(image_batches(checkpoint, split, 10, 4, CPU)) for split in (array, packed)]
    for first, second in zip(*found, strict=True):
        assert torch.equal(first[1], second[1])
        assert (first[2] is None) == (second[2] is None) == (classes == 0)
    assert sorted(decoded) == list(range(10))


def test_a_training_ends_with_the_same_weights(tiny, stores, tmp_path, run, same):
    params = tiny("train.steps=5")
    trained = [run(params, (split, split), tmp_path / f"{n}") for n, split in enumerate(stores(1, height=8))]
    assert same(*trained)
    assert trained[0].rows == trained[1].rows
