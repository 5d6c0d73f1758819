"""Prepare: the same bytes from any layout and number of processes; damaged files are named and nothing is written."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ddpm.data.store import open_split, read_manifest
from ddpm.digest import file_sha256
from ddpm.engine.prepare import prepare as prepare_in
from ddpm.experiment.params import DataParams

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
Celeba = Callable[..., Path]
Params = Callable[..., DataParams]
FILES = {"train.npy", "train_labels.npy", "valid.npy", "valid_labels.npy", "manifest.json"}
ARRAYS = FILES - {"manifest.json"}


def prepare(data: DataParams, raw: Path, out: Path, **options: Any) -> dict[str, Any]:
    """With a folder of unfinished work of its own, as each set of parameters has; digests are those of the files."""
    manifest = prepare_in(data, raw, out, out.with_name(f"{out.name}-work"), **{"workers": 1, **options})
    for split, about in manifest["splits"].items():
        assert about["sha256"] == file_sha256(out / f"{split}.npy")
    return manifest


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
    assert set(manifest["versions"]) == {"numpy", "pillow", "libjpeg", "libjpeg_turbo", "libwebp", "simplejpeg", "zlib"}
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
    prepare(data, zipped, tmp_path / "one")
    prepare(data, zipped, tmp_path / "two", workers=2)
    prepare(data, folder, tmp_path / "folder")
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
        match=r"every image must be readable, 3 of 10 are damaged: 000002.jpg, 000007.jpg, 000009.jpg \(the first: ",
    ):
        prepare(data_params(), celeba(damaged, layout=layout), out, workers=workers)
    assert not out.exists()


def test_many_damaged_files_are_counted(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(dict.fromkeys(jpegs, b"no image"))
    with pytest.raises(
        ValueError,
        match=r"12 of 12 are damaged: 000001.jpg, .*, 000010.jpg and 2 more \(the first: not an image of a known kind",
    ):
        prepare(data_params(train_split="all", valid_split="none"), raw, tmp_path / "out")


def test_a_flipped_bit_in_the_zip_is_noticed(
    celeba: Celeba, data_params: Params, tmp_path: Path, jpegs: dict[str, bytes]
) -> None:
    raw = celeba()
    path = raw / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(jpegs["000003.jpg"]) + len(jpegs["000003.jpg"]) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"1 of 10 are damaged: 000003.jpg \(the first: the entry differs"):
        prepare(data_params(), raw, tmp_path / "out")


def test_a_failed_prepare_leaves_the_old_store(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(layout="folder")
    prepare(data_params(), raw, tmp_path / "out")
    before = contents(tmp_path / "out")
    (raw / "img_align_celeba" / "000010.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 10 are damaged"):
        prepare(data_params(image_size=8), raw, tmp_path / "out")
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
    assert not (tmp_path / "out").exists()


def test_nothing_is_held_out(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    manifest = prepare(data_params(valid_split="none"), celeba(), tmp_path / "out")
    assert open_split(tmp_path / "out", "valid").images.shape == (0, 16, 16, 3)
    assert manifest["splits"]["valid"]["images"] == 0


def test_only_selected_photographs_have_to_be_there(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba({name: content for name, content in jpegs.items() if name <= "000006.jpg"})
    data = data_params(train_split="train[0:4]", valid_split="train[4:6]")
    manifest = prepare(data, raw, tmp_path / "out")
    assert [manifest["splits"][split]["images"] for split in ("train", "valid")] == [4, 2]
    with pytest.raises(ValueError, match=r"all 10 selected images must be here, 4 are missing, first 000007.jpg"):
        prepare(data_params(), raw, tmp_path / "out")


def test_overlapping_selections_are_refused(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"valid_split must hold no training image, but train\[4:6\] shares 1 images"):
        prepare(data_params(train_split="train[0:5]", valid_split="train[4:6]"), celeba(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preparing_imports_no_torch() -> None:
    code = (
        "import sys, ddpm.engine.prepare, ddpm.data.store; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_damaged_files_are_skipped_when_asked_and_named(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    damaged = jpegs | {"000002.jpg": jpegs["000002.jpg"][:900], "000009.jpg": b"no image"}
    raw = celeba(damaged, layout="folder")
    with pytest.raises(ValueError, match=r"2 of 10 are damaged: .*; .*-S data.on_error=skip"):
        prepare(data_params(labels="Smiling"), raw, tmp_path / "out")
    ticks: list[int] = []
    manifest = prepare(data_params(labels="Smiling", on_error="skip"), raw, tmp_path / "out", tick=ticks.append)
    assert ticks == [8, 2]  # what was done is kept, nothing is decoded again
    train, valid = manifest["splits"]["train"], manifest["splits"]["valid"]
    assert [skipped["name"] for skipped in train["skipped"]] == ["000002.jpg"]
    assert valid["skipped"] == [{"name": "000009.jpg", "reason": "not an image of a known kind"}]
    assert (train["images"], valid["images"]) == (7, 1)
    whole = prepare(data_params(labels="Smiling"), celeba(layout="zip"), tmp_path / "whole")
    assert whole["splits"]["train"]["images"] == 8
    kept = [0, *range(2, 8)]
    np.testing.assert_array_equal(
        open_split(tmp_path / "out", "train").images, open_split(tmp_path / "whole", "train").images[kept]
    )
    np.testing.assert_array_equal(
        open_split(tmp_path / "out", "train").labels, open_split(tmp_path / "whole", "train").labels[kept]
    )


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("store", ["array", "encoded"])
def test_processes_close_the_gaps_of_damaged_files(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path, store: str
) -> None:
    """They write pixels where they would belong if all were whole: the first chunk, of 1 and 2, is one image short."""
    damaged = jpegs | dict.fromkeys(["000001.jpg", "000005.jpg", "000006.jpg"], b"no image")
    raw, data = celeba(damaged), data_params(on_error="skip", store=store, image_size=20)
    prepare(data, raw, tmp_path / "one")
    prepare(data, raw, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(open_split(tmp_path / "two", "train").images) == 5


def test_a_set_of_nothing_but_damage_is_refused_even_when_skipping(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(dict.fromkeys(jpegs, b"no image"))
    with pytest.raises(ValueError, match=r"an image of data.train_split must be readable, got none"):
        prepare(data_params(on_error="skip"), raw, tmp_path / "out")


def test_eight_damaged_files_among_a_thousand_are_all_named(tmp_path: Path, data_params: Params) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 5, 5, 3), dtype=np.uint8)
    damaged = {f"{number:04d}.png" for number in (3, 77, 256, 511, 512, 640, 901, 999)}
    for number, image in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        name = f"{number:04d}.png"
        (raw / name).write_bytes(buffer.getvalue()[: -40 if name in damaged else None])
    data = data_params(source="folder", name="x", crop="none", image_size=5, train_split="all", valid_split="none")
    with pytest.raises(ValueError, match=rf"8 of 1000 are damaged: {', '.join(sorted(damaged))} \("):
        prepare(data, raw, tmp_path / "out")


def test_duplicates_are_reported_with_those_across_the_splits(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    same_pixels = io.BytesIO()
    Image.open(io.BytesIO(jpegs["000001.jpg"])).save(same_pixels, "PNG")
    files = jpegs | {
        "000003.jpg": jpegs["000001.jpg"],
        "000009.jpg": jpegs["000001.jpg"],
        "000010.jpg": same_pixels.getvalue(),
    }
    found = prepare(data_params(), celeba(files), tmp_path / "out")["duplicates"]
    assert found["files"] == {
        "groups": 1,
        "repeated": 2,
        "held_out_in_train": 1,
        "examples": [["000001.jpg", "000003.jpg", "000009.jpg"]],
    }
    assert found["pixels"]["repeated"] == 3
    assert found["pixels"]["held_out_in_train"] == 2
    assert prepare(data_params(), celeba(layout="folder"), tmp_path / "none")["duplicates"]["pixels"]["groups"] == 0


def test_mean_and_deviation_are_those_of_numpy(celeba: Celeba, data_params: Params, tmp_path: Path) -> None:
    manifest = prepare(data_params(), celeba(), tmp_path / "out")
    images = open_split(tmp_path / "out", "train").images
    np.testing.assert_allclose(manifest["splits"]["train"]["mean"], images.mean(axis=(0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(manifest["splits"]["train"]["std"], images.std(axis=(0, 1, 2)), atol=1e-4)
    nothing = prepare(data_params(valid_split="none"), celeba(layout="folder"), tmp_path / "none")
    assert nothing["splits"]["valid"]["mean"] is None


def test_digests_of_files_and_pixels_do_not_depend_on_how_they_are_packed_or_stored(
    celeba: Celeba, data_params: Params, tmp_path: Path
) -> None:
    zipped, folder = celeba(layout="zip"), celeba(layout="folder")
    one = prepare(data_params(), zipped, tmp_path / "one")["splits"]
    two = prepare(data_params(store="encoded"), folder, tmp_path / "two")["splits"]
    for split in ("train", "valid"):
        assert one[split]["files_digest"] == two[split]["files_digest"]
        assert one[split]["pixels_digest"] == two[split]["pixels_digest"]
    assert one["train"]["sha256"] != two["train"]["sha256"]
    np.testing.assert_array_equal(
        open_split(tmp_path / "two", "train").images[np.arange(8)], open_split(tmp_path / "one", "train").images
    )
