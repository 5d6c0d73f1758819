"""Prepare: the same bytes from any layout and number of processes; damaged files are named and nothing is written."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ddpm.data import decode as decoding
from ddpm.data.store import open_split, read_manifest
from ddpm.engine.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
Celeba = Callable[..., Path]
Params = Callable[..., SimpleNamespace]
FILES = {"train.npy", "train_labels.npy", "valid.npy", "valid_labels.npy", "manifest.json"}
ARRAYS = FILES - {"manifest.json"}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve photographs are enough for several processes."""
    monkeypatch.setattr(decoding, "CHUNK_IMAGES", 2)
    monkeypatch.setattr(decoding, "SPREAD_CHUNKS", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_store_and_manifest(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    ticks: list[int] = []
    manifest = prepare(data_params(labels="Smiling"), celeba(), tmp_path / "out", workers=1, tick=ticks.append)
    assert set(contents(tmp_path / "out")) == FILES
    assert sum(ticks) == 10
    assert read_manifest(tmp_path / "out") == manifest
    assert manifest["splits"]["train"]["images"] == 8
    assert manifest["splits"]["train"]["selection"] == "train"
    assert manifest["splits"]["valid"]["images_of_class"] == {"not Smiling": 1, "Smiling": 1}
    assert manifest["raw"]["partition_is_official"] is False
    assert (manifest["crop"], manifest["resample"], manifest["size"]) == ("ddim-128", "bilinear", 16)
    assert set(manifest["versions"]) == {"numpy", "pillow", "libjpeg", "libjpeg_turbo"}
    assert str(tmp_path) not in json.dumps(manifest)
    split = open_split(tmp_path / "out", "train")
    assert split.images.shape == (8, 16, 16, 3)
    assert split.labels.tolist() == [1, 1, 0, 1, 1, 0, 1, 1]
    blue = split.images[..., 2].mean(axis=(1, 2))  # grows with the number of the photograph
    assert (np.diff(blue) > 10).all()


@pytest.mark.usefixtures("small_chunks")
def test_layout_and_processes_do_not_change_a_byte(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    zipped, folder = celeba(layout="zip"), celeba(layout="folder")
    data = data_params(train_split="train[1:8]")
    prepare(data, zipped, tmp_path / "one", workers=1)
    prepare(data, zipped, tmp_path / "two", workers=2)
    prepare(data, folder, tmp_path / "folder", workers=1)
    one, two, other = contents(tmp_path / "one"), contents(tmp_path / "two"), contents(tmp_path / "folder")
    assert one == two
    assert {name: one[name] for name in ARRAYS} == {name: other[name] for name in ARRAYS}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("workers", "layout"), [(1, "zip"), (2, "folder")])
def test_all_damaged_files_are_named_and_nothing_is_written(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path, workers: int, layout: str
) -> None:
    damaged = jpegs | {"000002.jpg": jpegs["000002.jpg"][:900], "000007.jpg": b"no image", "000009.jpg": b""}
    out = tmp_path / "out"
    with pytest.raises(
        ValueError,
        match=r"every image must be readable, 3 of 10 are damaged: 000002.jpg, 000007.jpg, 000009.jpg; download",
    ):
        prepare(data_params(), celeba(damaged, layout=layout), out, workers=workers)
    assert not list(out.iterdir())


def test_many_damaged_files_are_counted(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(dict.fromkeys(jpegs, b"no image"))
    with pytest.raises(ValueError, match=r"12 of 12 are damaged: 000001.jpg, .*, 000010.jpg and 2 more; download"):
        prepare(data_params(train_split="all", valid_split="none"), raw, tmp_path / "out", workers=1)


def test_a_flipped_bit_in_the_zip_is_noticed(
    celeba: Celeba, data_params: Params, tmp_path: Path, jpegs: dict[str, bytes]
) -> None:
    raw = celeba()
    path = raw / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(jpegs["000003.jpg"]) + len(jpegs["000003.jpg"]) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1 of 10 are damaged: 000003.jpg;"):
        prepare(data_params(), raw, tmp_path / "out", workers=1)


def test_a_failed_prepare_leaves_the_old_store(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(layout="folder")
    prepare(data_params(), raw, tmp_path / "out", workers=1)
    before = contents(tmp_path / "out")
    (raw / "img_align_celeba" / "000010.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 10 are damaged"):
        prepare(data_params(image_size=8), raw, tmp_path / "out", workers=1)
    assert contents(tmp_path / "out") == before


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_frame_without_the_crop_is_named(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    square = io.BytesIO()
    Image.new("RGB", (64, 64)).save(square, "PNG")
    raw = celeba(jpegs | {"000004.jpg": square.getvalue()})
    with pytest.raises(
        ValueError, match=r"^000004.jpg: crop ddim-128 needs the aligned 178x218 frame .* got 64x64; choose"
    ):
        prepare(data_params(), raw, tmp_path / "out", workers=workers)
    assert not list((tmp_path / "out").iterdir())


def test_nothing_is_held_out(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    manifest = prepare(data_params(valid_split="none"), celeba(), tmp_path / "out", workers=1)
    assert open_split(tmp_path / "out", "valid").images.shape == (0, 16, 16, 3)
    assert manifest["splits"]["valid"]["images"] == 0


def test_only_selected_photographs_have_to_be_there(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba({name: content for name, content in jpegs.items() if name <= "000006.jpg"})
    data = data_params(train_split="train[0:4]", valid_split="train[4:6]")
    manifest = prepare(data, raw, tmp_path / "out", workers=1)
    assert [manifest["splits"][split]["images"] for split in ("train", "valid")] == [4, 2]
    with pytest.raises(ValueError, match=r"all 10 selected photographs must be here, 4 are missing, first 000007.jpg"):
        prepare(data_params(), raw, tmp_path / "out", workers=1)


def test_overlapping_selections_are_refused(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"valid_split must hold no training image, but train\[4:6\] shares 1 images"):
        prepare(data_params(train_split="train[0:5]", valid_split="train[4:6]"), celeba(), tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_preparing_imports_no_torch() -> None:
    code = (
        "import sys, ddpm.engine.prepare, ddpm.data.store; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
