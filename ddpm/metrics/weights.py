"""The published weights of the FID network: which files count, where they are looked for, how they are verified.

A wrong weights file gives a plausible number that compares with nothing, so a file is known by its full SHA-256 or
refused, and a place that was named but holds the wrong file is an error, never passed over for the next place.
"""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

import torch

from ddpm.digest import file_sha256

CANONICAL_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Inception of 2015-12-05 as pytorch-fid and torch-fidelity publish it, 95,628,359 bytes; nothing else gives `fid`."""

PARTIAL_SHA256 = "8e06becfab6d2bcc01699c65cc7d89eb92947bf3cc68d443df0bc318bf55cc6c"
"""The same network up to Mixed_6e, batch norm folded in, as npz: enough for 768 features, never for `fid`."""

PUBLISHED_NAMES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
DOWNLOAD_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{PUBLISHED_NAMES[1]}"


def digest(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits.

    Raises:
        ValueError: there is no such file.
    """
    return file_sha256(_require_file(path))


def _require_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: weights must be a file, found none: name the published file")
    return path


def require_digest(path: Path, found: str, allowed: Collection[str]) -> None:
    """Refuse a weights file that is not one of the known ones, before anything reads it.

    Raises:
        ValueError: the digest is not among `allowed`.
    """
    if found not in allowed:
        known = " or ".join(allowed)
        raise ValueError(
            f"{path}: weights must have sha256 {known}, got {found}: replace the file (it may be cut short)"
        )


def read_verified(path: Path, sha256: str) -> bytes:
    """Read a weights file once and verify those very bytes, so that what is parsed is what was checked.

    Raises:
        ValueError: no such file, or its SHA-256 is not `sha256`.
    """
    content = _require_file(path).read_bytes()
    require_digest(path, hashlib.sha256(content).hexdigest(), (sha256,))
    return content


def find_weights(features: str, variable: str, weights: Path | None, download: bool) -> Path:
    """The weights file of some features: the option, else the environment, else torch's hub folder, else a download.

    Args:
        features: name for messages.
        variable: environment variable that may hold a path.
        weights: path given by the user; None to look further.
        download: allow fetching the published file into torch's hub folder.

    Raises:
        ValueError: nothing found and no download allowed, or the download failed or is not the published file.
    """
    if weights is not None:
        return weights
    if from_environment := os.environ.get(variable):
        return Path(from_environment)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for name in PUBLISHED_NAMES:
        if (folder / name).is_file():
            return folder / name
    if download:
        return _download(folder / PUBLISHED_NAMES[1])
    raise ValueError(
        f"reference.features: {features} needs the published Inception weights, found none in --weights, {variable} "
        f"or {folder}: put {PUBLISHED_NAMES[0]} there, or pass --download"
    )


def _download(target: Path) -> Path:
    """Fetch the published file; torch writes a temporary name beside it, verifies the SHA-256, then renames."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(DOWNLOAD_URL, str(target), hash_prefix=CANONICAL_SHA256, progress=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; RuntimeError is a wrong digest
        reason = str(error).replace("\n", " ")
        raise ValueError(
            f"{DOWNLOAD_URL}: download of the Inception weights failed ({reason}): put the file at {target} by hand"
        ) from error
    return target
