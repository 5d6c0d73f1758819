"""Our Inception against torch-fidelity's and pytorch-fid's, from pixels to features, on the same weights."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm.metrics import inception as module
from ddpm.metrics.features import build_extractor, network_features
from ddpm.metrics.inception import fold_batch_norm, inception, load_canonical, load_partial, with_weights
from ddpm.metrics.weights import digest

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folded(random_state) -> dict[str, Tensor]:
    return fold_batch_norm(random_state)


def assert_same_features(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


def pytorch_fid_features(state: dict[str, Tensor], pictures: np.ndarray, dims: list[int], patch) -> list[np.ndarray]:
    from pytorch_fid import inception as other

    patch.setattr(other, "load_state_dict_from_url", lambda *_, **__: state)
    net = other.InceptionV3([other.InceptionV3.BLOCK_INDEX_BY_DIM[dim] for dim in dims]).eval()
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255.0
    with torch.inference_mode():
        return [F.adaptive_avg_pool2d(out, 1).flatten(1).numpy() for out in net(x)]


def test_published_file_has_472_tensors(random_state):
    assert len(random_state) == 472
    assert sum(tensor.numel() * 4 for tensor in random_state.values()) == pytest.approx(95_628_359, rel=0.003)


def test_pytorch_fid_parity(random_state, folded, pictures, monkeypatch):
    expected = pytorch_fid_features(random_state, pictures, [768, 2048], monkeypatch)
    for tap, features in zip(("Mixed_6e", "Mixed_7c"), expected, strict=True):
        found = network_features(with_weights(tap, folded), "pytorch", CPU)(pictures)
        assert found.dtype == np.float32
        assert found.shape == (2, module.TAP_DIMS[tap])
        assert_same_features(found, features)


def test_torch_fidelity_parity(random_file, folded, pictures):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch_fidelity\.")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    names = ["2048", "logits_unbiased"]
    net = FeatureExtractorInceptionV3("inception-v3-compat", names, str(random_file))
    with torch.inference_mode():
        expected = net(torch.from_numpy(pictures).permute(0, 3, 1, 2))
    found = network_features(with_weights("fc", folded), "tf1", CPU)(pictures)
    assert_same_features(found[:, :2048], expected[0].numpy())
    assert_same_features(found[:, 2048:], expected[1].numpy())
    assert (network_features(with_weights("Mixed_7c", folded), "tf1", CPU)(pictures) == found[:, :2048]).all()


def test_folding_is_the_batch_norm():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5, eps=0.001).eval()
    for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.1, 2.0)
    pair = nn.ModuleDict({"conv": conv, "bn": norm})
    state = {f"layer.{name}": tensor for name, tensor in pair.state_dict().items()}
    folded = fold_batch_norm(state | {"fc.bias": torch.ones(2)})
    assert sorted(folded) == ["fc.bias", "layer.bias", "layer.weight"]
    x = torch.randn(2, 3, 8, 8)
    found = F.conv2d(x, folded["layer.weight"], folded["layer.bias"])
    torch.testing.assert_close(found, norm(conv(x)), rtol=1e-5, atol=1e-5)


def test_network_is_frozen_in_channels_last(folded):
    net = with_weights("Mixed_6e", folded)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert net.Mixed_6e.branch7x7_2.weight.is_contiguous(memory_format=torch.channels_last)
    assert [name for name, _ in inception("Mixed_6e").named_children()][-3:] == ["Mixed_6e", "AvgPool", "Flatten"]


def test_canonical_file_loads_as_it_is_published(random_file, folded, monkeypatch):
    monkeypatch.setattr(module, "CANONICAL_SHA256", digest(random_file))
    loaded = load_canonical(random_file).state_dict()
    assert loaded.keys() == inception("Mixed_7c").state_dict().keys()
    assert all(torch.equal(tensor, folded[name]) for name, tensor in loaded.items())


def test_wrong_and_truncated_files_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled an unverified file"))
    path = tmp_path / "weights.pth"
    for content in (b"", b"PK\x03\x04 cut short", np.zeros(100).tobytes()):
        path.write_bytes(content)
        for load in (load_canonical, load_partial):
            with pytest.raises(
                ValueError, match=r"^\S+weights\.pth: weights must have sha256 \w{64}, got \w{64}: "
            ) as caught:
                load(path)
            assert "\n" not in str(caught.value)
    for load in (load_canonical, load_partial):
        with pytest.raises(ValueError, match="weights must be a file, found none"):
            load(tmp_path / "absent.pth")


@pytest.mark.gpu
@pytest.mark.parametrize(("tap", "family"), [("Mixed_6e", "pytorch"), ("Mixed_7c", "tf1")])
def test_gpu_equals_cpu_though_tf32_is_on(folded, pictures, tap, family):
    expected = network_features(with_weights(tap, folded), family, CPU)(pictures)
    found = network_features(with_weights(tap, folded), family, torch.device("cuda"))(pictures)
    assert_same_features(found, expected)


@pytest.mark.skipif("DDPM_SHARED_DATA" not in os.environ, reason="DDPM_SHARED_DATA names no folder of real weights")
def test_real_weights_up_to_mixed_6e(random_state, pictures, monkeypatch):
    path = Path(os.environ["DDPM_SHARED_DATA"]) / "inception" / "inception2015_to_mixed_6e.npz"
    extractor = build_extractor("fid_768", weights=path, download=False, device=CPU)
    assert (extractor.metric, extractor.dim, extractor.family) == ("fid_768", 768, "pytorch")
    state = dict(random_state)
    with np.load(path) as arrays:
        for name in arrays.files:  # an identity batch norm, up to its bias, undoes the folding
            layer, _, part = name.rpartition(".")
            tensor = torch.from_numpy(arrays[name])
            if part == "weight":
                state[f"{layer}.conv.weight"] = tensor
            else:
                ones = torch.ones_like(tensor)
                state |= {f"{layer}.bn.bias": tensor, f"{layer}.bn.weight": ones, f"{layer}.bn.running_mean": ones * 0}
                state[f"{layer}.bn.running_var"] = ones - module.BATCH_NORM_EPS
    (expected,) = pytorch_fid_features(state, pictures, [768], monkeypatch)
    assert_same_features(extractor.extract(pictures), expected)
