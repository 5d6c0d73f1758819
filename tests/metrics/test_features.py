"""Extractors: who may be called what, where weights come from, and in what precision they run."""

import dataclasses
import hashlib
import urllib.request
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from ddpm.metrics import weights
from ddpm.metrics.features import (
    EXTRACTORS,
    FAMILIES,
    LOADERS,
    Extractor,
    Kind,
    build_extractor,
    full_float32,
    network_features,
)
from ddpm.metrics.images import pooled_pixels
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256, PUBLISHED_NAMES, find_weights

CPU = torch.device("cpu")
VARIABLES = {
    "inception": "DDPM_INCEPTION_WEIGHTS",
    "pytorch-fid": "DDPM_INCEPTION_WEIGHTS",
    "seed0": "DDPM_INCEPTION_WEIGHTS",
    "fid_768": "DDPM_FID_768_WEIGHTS",
}


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch) -> Path:
    """An empty hub folder, no variables, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "DOWNLOAD_URL", (tmp_path / "absent.pth").as_uri())
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def refusal(name: str, **options) -> str:
    with pytest.raises(ValueError, match="weights") as caught:
        build_extractor(name, **{"weights": None, "download": False, "device": CPU} | options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pixels_need_nothing():
    extractor = build_extractor("pixels", weights=None, download=False, device=CPU)
    assert (extractor.metric, extractor.family, extractor.weights_sha256) == ("frechet_pixels", "pixels", None)
    images = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)
    np.testing.assert_array_equal(extractor.extract(images), pooled_pixels(images))
    assert "pixels takes no weights" in refusal("pixels", weights=Path("x.pth"))


def test_names_agree_and_unknown_ones_are_refused():
    with_network = {name for name, kind in EXTRACTORS.items() if kind.weights}
    assert with_network == LOADERS.keys() == EXTRACTORS.keys() - {"pixels"} == VARIABLES.keys()
    assert {EXTRACTORS[name].family for name in with_network} == FAMILIES.keys()
    for names in ([kind.metric for kind in EXTRACTORS.values()], [kind.suffix for kind in EXTRACTORS.values()]):
        assert len(set(names)) == len(EXTRACTORS)
    with pytest.raises(ValueError, match="must be one of pixels, inception, pytorch-fid, seed0, fid_768, got 'fid'"):
        build_extractor("fid", weights=None, download=False, device=CPU)


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("inception", hashlib.sha256(b"random weights").hexdigest()),
        ("inception", PARTIAL_SHA256),
        ("inception", None),
        ("pytorch-fid", PARTIAL_SHA256),
        ("seed0", PARTIAL_SHA256),
        ("fid_768", None),
        ("pixels", CANONICAL_SHA256),
    ],
)
def test_only_the_published_weights_earn_a_name(name, sha256):
    with pytest.raises(ValueError, match=f"{EXTRACTORS[name].metric} may only come from the weights"):
        Extractor(name, sha256, pooled_pixels)


def test_fid_is_the_name_of_one_network_with_one_resize():
    (name,) = (name for name, kind in EXTRACTORS.items() if kind.metric == "fid")
    kind = EXTRACTORS[name]
    assert (kind.family, kind.weights, kind.dim) == ("tf1", (CANONICAL_SHA256,), 2048)


def test_names_cannot_be_earned_later():
    pixels = build_extractor("pixels", weights=None, download=False, device=CPU)
    with pytest.raises(ValueError, match="fid may only come from the weights"):
        dataclasses.replace(pixels, name="inception")


@pytest.mark.parametrize("name", VARIABLES)
def test_random_weights_give_no_extractor_wherever_they_lie(name, hub, tmp_path, monkeypatch, random_file):
    def says(message: str) -> bool:
        return message.startswith(f"{place}: weights must have sha256 {CANONICAL_SHA256}")

    place = random_file
    assert says(refusal(name, weights=random_file))
    monkeypatch.setenv(VARIABLES[name], str(random_file))
    assert says(refusal(name))
    monkeypatch.delenv(VARIABLES[name])
    for published in PUBLISHED_NAMES:
        place = hub / published
        place.symlink_to(random_file)
        assert says(refusal(name))
        assert says(refusal(name, download=True)), "a wrong file is an error, not a reason to download another"
        place.unlink()


def test_order_of_places(hub, tmp_path, monkeypatch):
    for published in reversed(PUBLISHED_NAMES):
        (hub / published).touch()
        assert find_weights("inception", "DDPM_INCEPTION_WEIGHTS", None, False) == hub / published
    monkeypatch.setenv("DDPM_INCEPTION_WEIGHTS", "from/environment.pth")
    assert find_weights("inception", "DDPM_INCEPTION_WEIGHTS", None, False) == Path("from/environment.pth")
    assert find_weights("inception", "DDPM_INCEPTION_WEIGHTS", tmp_path / "a", False) == tmp_path / "a"


@pytest.mark.parametrize("name", VARIABLES)
def test_nothing_found_names_both_ways_out(name, hub):
    message = refusal(name)
    for part in (name, "--weights", VARIABLES[name], str(hub), PUBLISHED_NAMES[0], "--download"):
        assert part in message


def test_absent_files_that_were_named_are_refused(tmp_path, monkeypatch):
    assert f"{tmp_path / 'no.pth'}: weights must be a file" in refusal("inception", weights=tmp_path / "no.pth")
    monkeypatch.setenv("DDPM_FID_768_WEIGHTS", str(tmp_path / "no.npz"))
    assert f"{tmp_path / 'no.npz'}: weights must be a file" in refusal("fid_768", download=True)


def test_download_offline_is_refused_in_one_line(hub, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("[Errno -3] Temporary failure\nin name resolution")

    monkeypatch.setattr(weights, "DOWNLOAD_URL", "https://example.invalid/pt_inception.pth")
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    message = refusal("inception", download=True)
    assert message.startswith("https://example.invalid/pt_inception.pth: download of the Inception weights failed")
    assert message.endswith(f"put the file at {hub / PUBLISHED_NAMES[1]} by hand")
    assert list(hub.iterdir()) == []


def test_downloads_are_verified_then_renamed(hub, tmp_path, monkeypatch):
    source = tmp_path / "absent.pth"
    source.write_bytes(b"not the published file")
    assert "invalid hash value" in refusal("inception", download=True)
    assert list(hub.iterdir()) == []
    monkeypatch.setattr(weights, "CANONICAL_SHA256", hashlib.sha256(source.read_bytes()).hexdigest())
    assert find_weights("inception", "DDPM_INCEPTION_WEIGHTS", None, True) == hub / PUBLISHED_NAMES[1]
    assert [path.name for path in hub.iterdir()] == [PUBLISHED_NAMES[1]]
    source.unlink()
    assert find_weights("inception", "DDPM_INCEPTION_WEIGHTS", None, True) == hub / PUBLISHED_NAMES[1]


def test_nothing_is_fetched_unasked(monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("went to the network"))
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: pytest.fail("went to the network"))
    refusal("inception")
    refusal("fid_768")


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 9, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten()).requires_grad_(False)


def test_gray_images_are_repeated_and_read_only_maps_are_read(tmp_path):
    np.save(tmp_path / "gray.npy", np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8))
    gray = np.load(tmp_path / "gray.npy", mmap_mode="r")
    extract = network_features(tiny(), "tf1", CPU)
    np.testing.assert_array_equal(extract(gray), extract(np.repeat(gray, 3, axis=3)))


def test_autocast_around_changes_nothing():
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    extract = network_features(tiny(), "pytorch", CPU)
    alone = extract(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = extract(images)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, alone)


def test_precision_is_full_inside_and_put_back_after():
    conv = torch.backends.cudnn.conv
    before, conv.fp32_precision = conv.fp32_precision, "tf32"
    try:
        with full_float32():
            assert conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
        assert conv.fp32_precision == "tf32"
    finally:
        conv.fp32_precision = before


def test_another_network_is_one_line_in_each_table(tmp_path, monkeypatch):
    file = tmp_path / "dino.pth"
    file.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setitem(EXTRACTORS, "dino", Kind("frechet_dino", "_dino", 4, 0, "half", (sha256,), "DDPM_DINO_WEIGHTS"))
    monkeypatch.setitem(FAMILIES, "half", lambda x: x[..., ::2, ::2] / 255)
    monkeypatch.setitem(LOADERS, "dino", lambda path, sha256: tiny())
    extractor = build_extractor("dino", weights=file, download=False, device=CPU)
    assert (extractor.metric, extractor.family, extractor.weights_sha256) == ("frechet_dino", "half", sha256)
    assert extractor.extract(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 4)
    file.write_bytes(b"other weights")
    assert f"must have sha256 {sha256}" in refusal("dino", weights=file)
