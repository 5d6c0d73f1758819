"""`evaluate` as a user types it: every number with its protocol, and the same ones however samples are stored."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddpm.drawing.grid import tile
from ddpm.metrics import features
from ddpm.metrics.features import Extractor
from ddpm.metrics.weights import CANONICAL_SHA256

ALWAYS = {
    *("name", "value", "num_images", "num_reference", "features", "family", "weights_sha256", "reference_sha256"),
    *("samples_sha256", "grade", "protocol"),
}


@pytest.fixture
def evaluated(done, ddpm):
    """Evaluate samples; returns metrics.json."""

    def run(*arguments):
        result = ddpm("evaluate", *arguments, "--out", "work/m.json")
        assert result.exit_code == 0, result.output
        return json.loads((done / "work/m.json").read_text())

    return run


def test_every_number_names_its_protocol(done):
    metrics = json.loads((done / "results/metrics.json").read_text())
    assert list(metrics) == [
        "frechet_pixels@12",
        "frechet_pixels_floor@12",
        *(f"{name}_pixels@12" for name in ("kid", "memorization", "precision", "recall")),
    ]
    for name, record in metrics.items():
        assert record.keys() >= ALWAYS
        assert record["name"] == name
        assert record["protocol"] == {
            "name": "own",
            "source": "digits",
            "crop": "none",
            "resample": "bicubic",
            "size": 8,
            "split": "train",
            "sample_format": "prepared npy" if "floor" in name else "uint8 npy",
        }
    interval = metrics["frechet_pixels@12"]["interval"]
    assert interval["low"] < metrics["frechet_pixels@12"]["value"] < interval["high"]
    assert metrics["frechet_pixels_floor@12"]["samples_at_this_count"] == metrics["frechet_pixels@12"]["value"]


def as_npy(images, folder):
    np.save(folder / "shuffled.npy", images[::-1])
    return folder / "shuffled.npy"


def as_npz(images, folder):
    np.savez(folder / "adm.npz", images)
    return folder / "adm.npz"


def as_folder(images, folder):
    (folder / "png").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / "png" / f"{number}.png")
    return folder / "png"


def as_zip(images, folder):
    with zipfile.ZipFile(folder / "png.zip", "w") as archive:
        for path in as_folder(images, folder).iterdir():
            archive.write(path, path.name)
    return folder / "png.zip"


@pytest.mark.parametrize(
    ("store", "named"), [(as_npy, "uint8 npy"), (as_npz, "npz"), (as_folder, "png folder"), (as_zip, "png zip")]
)
def test_order_and_storage_change_no_bit_of_a_number(store, named, done, evaluated):
    images = np.load(done / "data/samples/images.npy")
    expected = json.loads((done / "results/metrics.json").read_text())
    metrics = evaluated("--samples", str(store(images, done / "work")))
    assert metrics["frechet_pixels_floor@12"]["samples_sha256"] != metrics["frechet_pixels@12"]["samples_sha256"]
    for name, record in metrics.items():
        assert record["protocol"].pop("sample_format") == ("prepared npy" if "floor" in name else named)
    for record in expected.values():
        record["protocol"].pop("sample_format")
    assert metrics == expected


def test_sheets_are_cut_into_images(done, evaluated):
    images = np.load(done / "data/samples/images.npy")
    (done / "sheets").mkdir()
    tile(images, 3, 4, 1, 1).save(done / "sheets/1.png")
    metrics = evaluated("--samples", "sheets", "--grid", "3x4", "--padding", "1")
    expected = json.loads((done / "results/metrics.json").read_text())
    assert metrics["frechet_pixels@12"]["value"] == expected["frechet_pixels@12"]["value"]
    assert metrics["frechet_pixels@12"]["protocol"]["sample_format"] == "png grids 3x4 padding 1"


def test_jpeg_is_warned_of(done, ddpm):
    folder = done / "jpeg"
    folder.mkdir()
    for number, image in enumerate(np.load(done / "data/samples/images.npy")):
        Image.fromarray(image[..., 0]).save(folder / f"{number}.jpg")
    result = ddpm("evaluate", "--samples", "jpeg", "--out", "work/m.json")
    assert result.exit_code == 0, result.output
    assert "Warning: jpeg: 12 files are JPEG" in result.stderr
    assert "5.80" in result.stderr


def test_other_metrics_of_the_same_images_need_no_extractor(done, evaluated, monkeypatch):
    def never(images):
        raise AssertionError("features were computed again")

    monkeypatch.setattr(features, "pooled_pixels", never)
    expected = json.loads((done / "results/metrics.json").read_text())
    metrics = evaluated("-S", "evaluate.metrics=[kid]")
    assert metrics == {"kid_pixels@12": expected["kid_pixels@12"]}


def test_counts_are_asked_for_and_said(done, ddpm, refused):
    result = ddpm("evaluate", "--num-images", "9", "--out", "work/m.json")
    assert result.exit_code == 0, result.output
    assert "frechet_pixels@9: " in result.stdout
    assert "Warning: frechet_pixels@9: smoke only" in result.stderr
    short = ("evaluate", "--num-images", "13", "--out", "work/m.json")
    refused(ddpm(*short), "--num-images 13 needs as many samples, got 12; take all with --num-images 12")
    refused(ddpm("evaluate", "--num-images", "1"), "1 is not in the range", code=2)
    refused(ddpm("evaluate", "--num-images", "3"), "evaluate.kid_images must be at most evaluate.num_images = 3, got 4")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "ten"], "--grid must be ROWSxCOLUMNS, such as 10x10, got ten"),
        (["--grid", "0x3"], "--grid must be ROWSxCOLUMNS"),
        (["--padding", "1"], "--padding belongs to --grid"),
    ],
)
def test_sheets_that_are_none(arguments, words, done, ddpm, refused):
    refused(ddpm("evaluate", *arguments), words, code=2)


def test_the_features_of_the_reference_must_be_its_own(done, ddpm, refused):
    file = done / "data/reference/statistics_features.npy"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    way_out = "run `ddpm reference` again"
    refused(ddpm("evaluate"), "must be the features that statistics.npz is of, got another file", way_out)
    file.unlink()
    refused(ddpm("evaluate"), "must be the features that statistics.npz is of, got none", way_out)


def fake_inception(name, **options):
    """Features of the right form from pixels; stands for the network, whose weights no test has."""

    def extract(images):
        rows = images.reshape(len(images), -1).astype(np.float32) / 255
        width = 3056 if name == "inception" else 2048
        return np.tile(rows, (1, -(-width // rows.shape[1])))[:, :width]

    return Extractor(name, CANONICAL_SHA256, extract)


@pytest.fixture
def foreign(done):
    """Statistics as pytorch-fid writes them, of 40 images."""
    rows = np.random.default_rng(0).normal(size=(40, 2048))
    np.savez(done / "theirs.npz", mu=rows.mean(0), sigma=np.cov(rows, rowvar=False))
    return ("-S", "reference.features=inception", "--foreign", "theirs.npz")


def test_statistics_of_others_are_taken_under_a_declared_family(done, ddpm, refused, foreign, monkeypatch):
    out = ("--out", "work/theirs.npz")
    declared = (*foreign, "--family", "tf1", *out)
    refused(ddpm("reference", *declared), "--count must say how many images")
    refused(ddpm("reference", *foreign, "--family", "pytorch", *out), "--family must be tf1 for reference.features inc")
    refused(ddpm("reference", *foreign, *out), "--foreign, --family (and --count) go together", code=2)
    pixels = ("reference", "--foreign", "theirs.npz", "--family", "tf1", "--count", "40", *out)
    refused(ddpm(*pixels), "--family must be pytorch or seed0 or tf1 for reference.features pixels, got tf1")
    result = ddpm("reference", *declared, "--count", "40")
    assert result.exit_code == 0, result.output
    assert "inception statistics of 40 images" in result.stdout
    monkeypatch.setattr(features, "build_extractor", fake_inception)
    measure = ("evaluate", "--reference", "work/theirs.npz", "--out", "work/m.json")
    refused(ddpm(*measure), "evaluate.metrics must not list kid: the reference has no features")
    few = ("-S", "evaluate.metrics=[frechet,inception-score]", "-S", "reference.features=inception")
    result = ddpm(*measure, *few)
    assert result.exit_code == 0, result.output
    metrics = json.loads((done / "work/m.json").read_text())
    assert set(metrics) == {"fid@12", "fid_floor@12", "inception_score@12"}
    assert metrics["fid@12"]["protocol"]["source"] == "foreign mu/sigma"
    assert metrics["fid@12"]["num_reference"] == 40
    theirs = fake_inception("pytorch-fid")
    monkeypatch.setattr(features, "build_extractor", lambda name, **options: theirs)
    refused(ddpm(*measure, *few), "features must agree")
