"""Samples as files of other programs: what is read back are the same pixels."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm.engine import sample_files as engine
from ddpm.engine.sample_files import Samples

IMAGES = {
    channels: np.random.default_rng(0).integers(0, 256, (7, 6, 5, channels), dtype=np.uint8) for channels in (1, 3)
}
colors = pytest.mark.parametrize("channels", [1, 3])


def silent(count):
    return None


def read(source, channels):
    with Image.open(source) as image:
        assert image.mode == {1: "L", 3: "RGB"}[channels]
        assert not image.info
        return np.asarray(image).reshape(6, 5, channels)


@colors
def test_pngs_hold_the_pixels(channels, tmp_path):
    ticks, out = [], tmp_path / "deep" / "out"
    assert engine.write_folder(engine.numbered(IMAGES[channels]), out, force=False, tick=ticks.append) == 7
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"00000{number}.png" for number in range(7)]
    assert (np.stack([read(out / name, channels) for name in names]) == IMAGES[channels]).all()
    assert sum(ticks) == 7
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@colors
def test_zips_hold_the_pixels_and_are_the_same_bytes(channels, tmp_path):
    for name in ("a.zip", "b.zip"):
        engine.write_zip(engine.numbered(IMAGES[channels]), tmp_path / name, silent)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        entries = archive.infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        found = [read(io.BytesIO(archive.read(entry)), channels) for entry in entries]
    assert (np.stack(found) == IMAGES[channels]).all()


@pytest.mark.parametrize("labels", [None, np.arange(7)])
@pytest.mark.parametrize("chunk", [1000, 3])
@colors
def test_npz_has_the_bytes_of_numpy(channels, chunk, labels, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CHUNK_IMAGES", chunk)
    ticks = []
    engine.write_npz(Samples(IMAGES[channels], labels), tmp_path / "ours.npz", ticks.append)
    rgb = IMAGES[channels].repeat(3 // channels, axis=3)
    np.savez(tmp_path / "numpy.npz", *([rgb] if labels is None else [rgb, labels]))
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpy.npz").read_bytes()
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as found:
        assert found.files == (["arr_0"] if labels is None else ["arr_0", "arr_1"])
        assert (found["arr_0"] == rgb).all()
    assert sum(ticks) == 7


@colors
def test_sheets_show_all_images_in_order(channels, tmp_path):
    engine.write_folder(engine.sheets(IMAGES[channels], 2, 2, padding=1, zoom=2), tmp_path / "out", False, silent)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png"]
    with Image.open(tmp_path / "out" / "00001.png") as sheet:  # has three images
        second = np.asarray(sheet).reshape(2 * 13 + 1, 2 * 11 + 1, channels)
    assert (second[1:13:2, 1:11:2] == IMAGES[channels][4]).all()
    assert (second[14:26:2, 2:11:2] == IMAGES[channels][6]).all()
    assert (second[14:, 12:] == 0).all()


def test_a_folder_with_files_is_kept_unless_forced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "000009.png").write_bytes(b"of a larger set")
    files = lambda: engine.numbered(IMAGES[1])  # noqa: E731
    with pytest.raises(ValueError, match="must be new or empty, got 2 files; name another --out, or use --force"):
        engine.write_folder(files(), tmp_path, force=False, tick=silent)
    assert len(list(tmp_path.iterdir())) == 2
    engine.write_folder(files(), tmp_path, force=True, tick=silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"00000{i}.png" for i in range(7)), "mine.txt"]
    with pytest.raises(ValueError, match="must be a folder, got a file"):
        engine.write_folder(files(), tmp_path / "mine.txt", force=True, tick=silent)


def test_a_killed_export_leaves_nothing_that_looks_whole(tmp_path):
    def dies(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.write_folder(engine.numbered(IMAGES[1]), tmp_path / "out", False, dies)
    assert not (tmp_path / "out").exists()
    engine.write_folder(engine.numbered(IMAGES[1]), tmp_path / "out", False, silent)
    assert len(list((tmp_path / "out").iterdir())) == 7
    with pytest.raises(KeyboardInterrupt):
        engine.write_npz(Samples(IMAGES[1], None), tmp_path / "out.npz", dies)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_files_are_not_overwritten_unless_forced(tmp_path):
    path = tmp_path / "a.zip"
    engine.require_free(path, force=False)
    path.write_bytes(b"")
    engine.require_free(path, force=True)
    with pytest.raises(ValueError, match="must not exist, got a file; name another --out, or use --force"):
        engine.require_free(path, force=False)
    with pytest.raises(ValueError, match=r"must not exist, got a folder; name another --out$"):
        engine.require_free(tmp_path, force=True)


@pytest.mark.parametrize(
    ("labels", "manifest", "counts"),
    [
        (np.arange(7), None, True),
        (np.zeros(7, np.int64), None, False),
        (np.zeros(7, np.int64), True, True),  # all of class 0
        (np.zeros(7, np.int64), False, False),
        (None, None, False),
    ],
)
def test_labels_count_if_they_mean_something(labels, manifest, counts, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES[3])
    if labels is not None:
        np.save(tmp_path / "labels.npy", labels)
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(json.dumps({"conditional": manifest}))
    opened = engine.open_samples(tmp_path)
    assert (opened.images == IMAGES[3]).all()
    assert (opened.labels is not None) == counts
    assert engine.open_samples(tmp_path / "images.npy").labels is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((7, 6, 5, 3)), r"images must be uint8 \(N, height, width, 1 or 3\), got float64 \(7, 6, 5, 3\)"),
        (np.zeros((7, 6, 5, 2), np.uint8), "got uint8"),
        (np.zeros((6, 5, 3), np.uint8), "got uint8"),
        (np.zeros((0, 6, 5, 3), np.uint8), "got uint8"),
    ],
)
def test_arrays_that_are_no_images_are_refused(array, message, tmp_path):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(ValueError, match=message):
        engine.open_samples(tmp_path)


def test_files_that_are_missing_damaged_or_of_another_set_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"images\.npy: no such file; `python -m ddpm sample` makes samples"):
        engine.open_samples(tmp_path)
    np.save(tmp_path / "images.npy", IMAGES[1])
    np.save(tmp_path / "labels.npy", np.arange(6))
    with pytest.raises(ValueError, match="one int64 label for each of 7 images, got int64"):
        engine.open_samples(tmp_path)
    whole = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="damaged array"):
        engine.open_samples(tmp_path)
