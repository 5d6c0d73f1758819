"""Feature extractors: stored uint8 images in, one row of features per image out.

Three kinds, whose distances have three names, so that none can be mistaken for another:
`pixels` (`frechet_pixels`, needs no file), `fid_768` (`fid_768`) and `inception` (`fid`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddpm.metrics import inception
from ddpm.metrics.images import FAMILIES, Features, StoredImages, pooled_pixels, require_stored
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256, digest, find_weights, require_digest

METRICS = {"pixels": "frechet_pixels", "inception": "fid", "fid_768": "fid_768"}
ALLOWED_WEIGHTS: dict[str, tuple[str | None, ...]] = {
    "pixels": (None,),
    "inception": (CANONICAL_SHA256,),
    "fid_768": (CANONICAL_SHA256, PARTIAL_SHA256),
}


@dataclass(frozen=True)
class Extractor:
    """What turns images into features, with all that a reader must know to compare its distances.

    Args:
        name: as in `params.yaml: reference.features`.
        metric: name of the distance in metrics.json.
        dim: features per image; None where the images decide (pixels).
        family: how images are resized and scaled: `pixels`, `tf1` or `pytorch`; families never mix.
        weights_sha256: digest of the weights file; None where there is none.
        extract: uint8 (images, height, width, 1 or 3) -> float32 (images, dim), as one batch.

    Raises:
        ValueError: a metric's name for features or weights that have not earned it.
    """

    name: str
    metric: str
    dim: int | None
    family: str
    weights_sha256: str | None
    extract: Callable[[StoredImages], Features]

    def __post_init__(self) -> None:
        if METRICS.get(self.name) != self.metric:
            raise ValueError(
                f"metric of features {self.name!r} must be {METRICS.get(self.name)!r}, got {self.metric!r}"
            )
        if self.weights_sha256 not in ALLOWED_WEIGHTS[self.name]:
            allowed = " or ".join(map(str, ALLOWED_WEIGHTS[self.name]))
            raise ValueError(f"{self.metric} may only come from the weights {allowed}, got {self.weights_sha256}")


@contextmanager
def full_float32() -> Iterator[None]:
    """For the block, switch off TF32, bf16 shortcuts and cuDNN's algorithm search; then put back what was set."""
    backends: Any = torch.backends  # the settings per operation have no type stubs
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [operation.fp32_precision for operation in operations]
    benchmark, deterministic = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        yield
    finally:
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, deterministic


def network_features(net: nn.Module, family: str, device: torch.device) -> Callable[[StoredImages], Features]:
    """`extract` of a network, in full float32 whatever precision the rest of the program runs in.

    bf16 features drift by a quarter of their standard deviation, and torch has TF32 on for CUDA convolutions.

    Args:
        net: (batch, 3, 299, 299) -> (batch, dim); moved to the device.
        family: `tf1` or `pytorch`.
    """
    net = net.to(device)

    def extract(images: StoredImages) -> Features:
        # a copy, because the stored array may be a read-only memory map, which torch cannot wrap
        x = torch.from_numpy(require_stored(images).copy()).to(device).permute(0, 3, 1, 2).float()
        x = x.expand(-1, 3, -1, -1)  # gray images are repeated
        with torch.inference_mode(), torch.autocast(device.type, enabled=False), full_float32():
            x = FAMILIES[family](x).contiguous(memory_format=torch.channels_last)
            features: Features = net(x).cpu().numpy()
        return features

    return extract


def _pixels(weights: Path | None, download: bool, device: torch.device) -> Extractor:
    del download, device  # nothing to fetch, and whole-number sums stay in numpy
    if weights is not None:
        raise ValueError(
            f"reference.features: pixels takes no weights, got {weights}: drop --weights, or use inception"
        )
    return Extractor("pixels", METRICS["pixels"], None, "pixels", None, pooled_pixels)


def _inception(weights: Path | None, download: bool, device: torch.device) -> Extractor:
    path = find_weights("inception", "DDPM_INCEPTION_WEIGHTS", weights, download)
    net = inception.load_canonical(path, "Mixed_7c")
    extract = network_features(net, "tf1", device)
    return Extractor("inception", METRICS["inception"], 2048, "tf1", CANONICAL_SHA256, extract)


def _fid_768(weights: Path | None, download: bool, device: torch.device) -> Extractor:
    path = find_weights("fid_768", "DDPM_FID_768_WEIGHTS", weights, download)
    found = digest(path)
    require_digest(path, found, (CANONICAL_SHA256, PARTIAL_SHA256))
    is_partial = found == PARTIAL_SHA256
    net = inception.load_partial(path) if is_partial else inception.load_canonical(path, "Mixed_6e")
    return Extractor("fid_768", METRICS["fid_768"], 768, "pytorch", found, network_features(net, "pytorch", device))


EXTRACTORS: dict[str, Callable[[Path | None, bool, torch.device], Extractor]] = {
    "pixels": _pixels,
    "inception": _inception,
    "fid_768": _fid_768,
}


def build_extractor(name: str, *, weights: Path | None, download: bool, device: torch.device) -> Extractor:
    """Build the extractor of a name; weights are found, verified and only then loaded (see `find_weights`).

    Args:
        name: a key of `EXTRACTORS`.
        weights: a weights file; None looks in the environment (DDPM_INCEPTION_WEIGHTS, DDPM_FID_768_WEIGHTS), then
            in torch's hub folder.
        download: allow fetching the published file when none is found.
        device: where the network runs.

    Raises:
        ValueError: unknown name, no weights, or weights that are not the published ones.
    """
    if name not in EXTRACTORS:
        raise ValueError(f"reference.features must be one of {', '.join(EXTRACTORS)}, got {name!r}")
    return EXTRACTORS[name](weights, download, device)
