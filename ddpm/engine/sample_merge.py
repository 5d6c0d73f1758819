"""Parts of a set of samples, drawn anywhere -> the set, byte for byte as if one call had drawn it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm.data.store import write_images, write_labels
from ddpm.engine.sample_manifest import IMAGES, LABELS, MANIFEST, OF_A_PART, counts, digests, read_manifest
from ddpm.experiment.workspace import atomic_path, write_json

CHUNK_BYTES = 2**26
"""How much of the images is in memory at once."""
Tick = Callable[[int], object]


@dataclass(frozen=True)
class Part:
    """A folder that holds the images first..last-1 of a set."""

    folder: Path
    first: int
    last: int
    manifest: dict[str, Any]


def find_parts(folders: Sequence[Path]) -> list[Part]:
    """The parts of one set in the order of their images; only the manifests are read.

    Raises:
        ValueError: a manifest is missing, two disagree in what they are parts of, or ranges overlap or leave a gap.
    """
    parts = []
    for folder in folders:
        manifest = read_manifest(folder)
        first, last = manifest["range"]
        parts.append(Part(folder, first, last, manifest))
    for part in parts[1:]:
        _require_same_set(parts[0], part)
    parts.sort(key=lambda part: (part.first, part.last))
    _require_all_once(parts)
    return parts


def _require_all_once(parts: Sequence[Part]) -> None:
    """Refuse sorted parts with an image missing, or twice."""
    num_images = parts[0].manifest["sample"]["num_images"]
    for first in [*(part.first for part in parts), num_images]:
        before = [part for part in parts if part.first < first]
        reached = max((part.last for part in before), default=0)
        if first > reached:
            raise ValueError(
                f"samples merge: the parts must hold all images 0:{num_images}, got none of {reached}:{first}; "
                f"draw them with `python -m ddpm sample --range {reached}:{first}`"
            )
    for one, other in pairwise(parts):
        if other.first < one.last:
            twice = f"{other.first}:{min(one.last, other.last)}"
            raise ValueError(
                f"samples merge: every image must be in one part, got {twice} in {one.folder} and in {other.folder}; "
                "leave one out"
            )


def _require_same_set(one: Part, other: Part) -> None:
    a, b = (
        _flat({key: value for key, value in part.manifest.items() if key not in OF_A_PART}) for part in (one, other)
    )
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            raise ValueError(
                f"{other.folder / MANIFEST}: {key} must be {a.get(key)} as in {one.folder}, got {b.get(key)}; "
                "merge parts of one set only"
            )


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    inner = {f"sample.{key}": value for key, value in manifest["sample"].items()}
    return {**{key: value for key, value in manifest.items() if key != "sample"}, **inner}


def merge(parts: Sequence[Part], out: Path, tick: Tick) -> None:
    """Write images, labels and the manifest of the whole set; images are streamed, never all in memory.

    Args:
        parts: of `find_parts`.
        out: none of their folders.
        tick: called with the number of images written since the last call.

    Raises:
        ValueError: out is one of the parts, or a part is not what its manifest says; nothing is written then.
    """
    for part in parts:
        if part.folder.resolve() == out.resolve():
            raise ValueError(f"samples merge: --out must not be one of the parts, got {out}; name another folder")
        _require_whole(part)
    first = parts[0].manifest
    shape = (parts[-1].last, *first["shape"])
    with atomic_path(out / IMAGES) as temporary:
        write_images(temporary, shape, _chunks(parts, tick))
    labels = np.concatenate([np.load(part.folder / LABELS, allow_pickle=False) for part in parts])
    with atomic_path(out / LABELS) as temporary:
        write_labels(temporary, labels)
    evaluations = sum(part.manifest["evaluations"] for part in parts)
    write_json(out / MANIFEST, {**first, **counts(0, parts[-1].last, evaluations), **digests(out)})


def _require_whole(part: Part) -> None:
    """Refuse a part whose files are not those that its manifest was written for."""
    for name in (IMAGES, LABELS):
        if not (part.folder / name).is_file():
            raise ValueError(f"{part.folder / name}: no such file; copy or draw the part again")
    for key, found in digests(part.folder).items():
        if found != part.manifest[key]:
            name = IMAGES if key == "images_sha256" else LABELS
            raise ValueError(
                f"{part.folder / name}: sha256 must be {part.manifest[key]} as in {MANIFEST}, got {found}; "
                "copy or draw the part again"
            )


def _chunks(parts: Sequence[Part], tick: Tick) -> Iterator[NDArray[np.uint8]]:
    for part in parts:
        images: NDArray[np.uint8] = np.load(part.folder / IMAGES, mmap_mode="r", allow_pickle=False)
        step = max(1, CHUNK_BYTES // images[0].nbytes)
        for start in range(0, len(images), step):
            yield images[start : start + step]
            tick(len(images[start : start + step]))
