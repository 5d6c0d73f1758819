"""Feature extractors: stored uint8 images in, one row of features per image out.

Every extractor gives its distance a name of its own (`EXTRACTORS`), so that none can be mistaken for another: only the
canonical Inception network with TensorFlow's resize gives `fid`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddpm.metrics import inception
from ddpm.metrics.images import Features, StoredImages, pooled_pixels, pytorch_input, require_stored, tf1_input
from ddpm.metrics.inception import Tap
from ddpm.metrics.seed0 import seed0_input
from ddpm.metrics.weights import CANONICAL_SHA256, PARTIAL_SHA256, digest, find_weights, require_digest

NUM_LOGITS = 1008
FAMILIES: dict[str, Callable[[Tensor], Tensor]] = {
    "tf1": tf1_input,
    "pytorch": pytorch_input,
    "seed0": seed0_input,
}
"""Family -> from (batch, 3, height, width) in 0..255 to the network's input."""


@dataclass(frozen=True)
class Kind:
    """What is known of an extractor before any file is opened.

    Args:
        metric: name of its Frechet distance in metrics.json.
        suffix: what other metrics in these features carry behind their names: `kid` and `kid_pixels`.
        dim: features per image; None where the images decide (pixels).
        num_logits: outputs of the classifier per image, behind the features in each row; 0 for none.
        family: how images are resized and scaled: a key of `FAMILIES`, or `pixels`; families never mix.
        weights: SHA-256 of the files that may make it; none: it needs no file.
        variable: environment variable that may name such a file.
    """

    metric: str
    suffix: str
    dim: int | None
    num_logits: int
    family: str
    weights: tuple[str, ...]
    variable: str


CANONICAL = (CANONICAL_SHA256,)
EXTRACTORS = {
    "pixels": Kind("frechet_pixels", "_pixels", None, 0, "pixels", (), ""),
    "inception": Kind("fid", "", 2048, NUM_LOGITS, "tf1", CANONICAL, "DDPM_INCEPTION_WEIGHTS"),
    "pytorch-fid": Kind("fid_pytorch", "_pytorch", 2048, 0, "pytorch", CANONICAL, "DDPM_INCEPTION_WEIGHTS"),
    "seed0": Kind("fid_seed0", "_seed0", 2048, 0, "seed0", CANONICAL, "DDPM_INCEPTION_WEIGHTS"),
    "fid_768": Kind("fid_768", "_768", 768, 0, "pytorch", (*CANONICAL, PARTIAL_SHA256), "DDPM_FID_768_WEIGHTS"),
}
"""Name in `params.yaml: reference.features` -> extractor. Another network is one more line, and a way to load it in
`LOADERS`."""


@dataclass(frozen=True)
class Extractor:
    """What turns images into features, with all that a reader must know to compare its distances.

    Args:
        name: a key of `EXTRACTORS`.
        weights_sha256: digest of the weights file; None where there is none.
        extract: uint8 (images, height, width, 1 or 3) -> float32 (images, dim + num_logits), as one batch.

    Raises:
        ValueError: weights that have not earned the name.
    """

    name: str
    weights_sha256: str | None
    extract: Callable[[StoredImages], Features]

    def __post_init__(self) -> None:
        allowed = self.kind.weights or (None,)
        if self.weights_sha256 not in allowed:
            names = " or ".join(map(str, allowed))
            raise ValueError(f"{self.metric} may only come from the weights {names}, got {self.weights_sha256}")

    @property
    def kind(self) -> Kind:
        """What is known of its name."""
        return EXTRACTORS[self.name]

    @property
    def metric(self) -> str:
        """Name of its Frechet distance."""
        return self.kind.metric

    @property
    def family(self) -> str:
        """How images are resized and scaled."""
        return self.kind.family


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


def _pixels(weights: Path | None) -> Callable[[StoredImages], Features]:
    if weights is not None:
        raise ValueError(
            f"reference.features: pixels takes no weights, got {weights}: drop --weights, or use inception"
        )
    return pooled_pixels


def _canonical(tap: Tap) -> Callable[[Path, str], nn.Module]:
    return lambda path, sha256: inception.load_canonical(path, tap)  # noqa: ARG005


def _fid_768(path: Path, sha256: str) -> nn.Module:
    return inception.load_partial(path) if sha256 == PARTIAL_SHA256 else inception.load_canonical(path, "Mixed_6e")


LOADERS: dict[str, Callable[[Path, str], nn.Module]] = {
    "inception": _canonical("fc"),
    "pytorch-fid": _canonical("Mixed_7c"),
    "seed0": _canonical("Mixed_7c"),
    "fid_768": _fid_768,
}
"""(weights file, its digest) -> network; only the extractors that have one."""


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
    kind = EXTRACTORS[name]
    if not kind.weights:
        return Extractor(name, None, _pixels(weights))
    path = find_weights(name, kind.variable, weights, download)
    found = digest(path)
    require_digest(path, found, kind.weights)
    return Extractor(name, found, network_features(LOADERS[name](path, found), kind.family, device))
