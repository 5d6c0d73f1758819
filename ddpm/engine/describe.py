"""What prepared images are, and a look at them: the manifest, and a card of images that an address chose."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm.data import store
from ddpm.drawing.data_card import Group, Layout, data_card, plan
from ddpm.drawing.lettering import has_letters
from ddpm.drawing.png import save_png
from ddpm.engine.manifest_lines import height_and_width, labels_text, largest_classes, plain, size_text, sizes_of
from ddpm.experiment.workspace import atomic_path

SHOWN_CLASSES = 16
KEYS = (
    *("source", "name", "raw", "crop", "resample", "size", "channels", "store", "labels", "classes", "splits"),
    *("duplicates", "versions"),
)
SPLIT_KEYS = (
    *("selection", "images", "images_of_class", "mean", "std", "skipped", "handled"),
    *("sha256", "labels_sha256", "files_digest", "pixels_digest"),
)


@dataclass(frozen=True)
class Prepared:
    """A split of prepared images that is to be shown, and the manifest of all of them."""

    manifest: Mapping[str, Any]
    name: str
    split: store.Split

    @property
    def entry(self) -> Mapping[str, Any]:
        """What the manifest says about the split."""
        entry: Mapping[str, Any] = self.manifest["splits"][self.name]
        return entry


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of prepared images, with everything that this version writes into it.

    Raises:
        ValueError: there is none, or it lacks something.
    """
    manifest = store.read_manifest(folder)
    missing = [key for key in KEYS if key not in manifest]
    for name, split in () if missing else manifest["splits"].items():
        missing += [f"splits.{name}.{key}" for key in SPLIT_KEYS if key not in split]
        counted = split.get("images_of_class", {})
        missing += [f"splits.{name}.images_of_class.{known}" for known in manifest["classes"] if known not in counted]
    if missing:
        raise ValueError(f"{folder / store.MANIFEST}: must say what {missing[0]} is; {store.WAY_OUT} again")
    return manifest


def open_prepared(folder: Path, name: str) -> Prepared:
    """Open a split that has images; they are the manifest's by number and labels (their sha256 would take long).

    Raises:
        ValueError: it is not there, empty, or not what the manifest is about.
    """
    manifest = read_manifest(folder)
    if name not in manifest["splits"] or not manifest["splits"][name]["images"]:
        filled = [split for split, entry in manifest["splits"].items() if entry["images"]]
        raise ValueError(
            f"{folder}: --split must have images, {name} has none; name {' or '.join(filled) or 'another'}"
        )
    prepared = Prepared(manifest, name, store.open_split(folder, name))
    labels, sizes, shape = prepared.split.labels, list(_sizes(prepared).values()), prepared.split.images.shape
    if shape != (prepared.entry["images"], *height_and_width(manifest), manifest["channels"]):
        raise _refused(folder / store.images_file(name), f"the images that {store.MANIFEST} is about", shape)
    if labels.min() < 0 or labels.max() >= len(sizes) or np.bincount(labels, minlength=len(sizes)).tolist() != sizes:
        raise _refused(folder / store.labels_file(name), f"the labels that {store.MANIFEST} counts", "others")
    return prepared


def _refused(path: Path, rule: str, found: object) -> ValueError:
    return ValueError(f"{path}: must hold {rule}, got {found}; {store.WAY_OUT} again")


def draw(prepared: Prepared, path: Path, wanted: int | None, seed: int) -> None:
    """Write the `card` as PNG; the same images, wish and seed give the same bytes."""
    picture, about = card(prepared, wanted, seed)
    with atomic_path(path) as temporary:
        save_png(picture, temporary, about)


def card(prepared: Prepared, wanted: int | None, seed: int) -> tuple[Image.Image, dict[str, str]]:
    """Draw the card.

    Args:
        prepared: what is shown.
        wanted: images altogether, at most, but one per class; None: as many as make a good picture.
        seed: another one shows other images.

    Returns:
        The picture, and what made it, for its text chunks.
    """
    sizes = _sizes(prepared)
    shown = largest_classes(sizes, SHOWN_CLASSES)
    height, width, _ = prepared.split.images.shape[1:]
    largest = max(sizes.values())
    layout = plan(height, width, len(shown), largest, labeled=bool(prepared.manifest["classes"]), wanted=wanted)
    rows = [_rows(prepared, name, layout.group_images, seed) for name in shown]
    images = prepared.split.images[np.concatenate(rows)]
    ends = np.cumsum([len(some) for some in rows])[:-1]
    groups = [
        Group(_drawn_name(prepared, name), _note(sizes[name], prepared), sizes[name], some)
        for name, some in zip(shown, np.split(images, ends), strict=True)
    ]
    title = prepared.manifest["name"]
    picture = data_card(
        title if has_letters(title) else prepared.manifest["source"],
        captions(prepared.manifest),
        groups,
        layout,
        footer(prepared, len(images), layout, seed),
    )
    return picture, _about(prepared, rows, seed)


def captions(manifest: Mapping[str, Any]) -> list[str]:
    """What stands under the title."""
    labels = f"labels {labels_text(manifest)}" if manifest["classes"] else "no labels"
    crop = f"crop {manifest['crop']}, {manifest['resample']}"
    splits = (
        f"{name} {split['images']:,} ({split['selection']})" if split["images"] else f"{name} empty"
        for name, split in manifest["splits"].items()
    )
    return [" · ".join((f"source {manifest['source']}", size_text(manifest), crop, labels)), " · ".join(splits)]


def footer(prepared: Prepared, shown: int, layout: Layout, seed: int) -> str:
    """How much of the split is to be seen, and at what size."""
    parts = [f"{shown:,} of {prepared.entry['images']:,} images of {prepared.name}, chosen with seed {seed}"]
    if layout.zoom > 1:
        parts.append(f"enlarged {layout.zoom} x")
    if layout.shrink > 1:
        parts.append(f"shrunk to 1/{layout.shrink}")
    sizes = _sizes(prepared)
    largest = largest_classes(sizes, SHOWN_CLASSES)
    if rest := len(sizes) - len(largest):
        left = sum(sizes.values()) - sum(sizes[name] for name in largest)
        parts.append(f"the {SHOWN_CLASSES} largest classes; {rest:,} more have {left:,} images")
    return " · ".join(parts)


def pick(length: int, wanted: int, address: str) -> list[int]:
    """Different numbers below `length`, at most so many, drawn by the sha256 of an address and the turn.

    More of them are the same ones and others. Only what is drawn is hashed, so millions are no slower than tens.
    """
    if wanted >= length:
        return list(range(length))
    drawn: dict[int, None] = {}
    for turn in count():
        if len(drawn) == wanted:
            break
        digest = hashlib.sha256(f"{address} {turn}".encode()).digest()
        drawn[int.from_bytes(digest[:8]) % length] = None
    return list(drawn)


def _sizes(prepared: Prepared) -> dict[str, int]:
    """Class -> images; without classes, the one of no name has them all."""
    return sizes_of(prepared.entry, prepared.manifest["classes"]) or {"": prepared.entry["images"]}


def _rows(prepared: Prepared, name: str, wanted: int, seed: int) -> NDArray[np.int64]:
    """The rows of a class that are shown."""
    classes: Sequence[str] = prepared.manifest["classes"]
    number = classes.index(name) if classes else 0
    own = np.flatnonzero(prepared.split.labels == number)
    return own[np.array(pick(len(own), wanted, f"{seed} {prepared.name} {number}"), dtype=np.int64)]


def _drawn_name(prepared: Prepared, name: str) -> str:
    """The name of a class, or its number where no face has the letters."""
    shown = plain(name)
    return shown if has_letters(shown) else f"class {prepared.manifest['classes'].index(name)}"


def _note(size: int, prepared: Prepared) -> str:
    return f"{size:,} · {size / prepared.entry['images']:.1%}"


def _about(prepared: Prepared, rows: Sequence[NDArray[np.int64]], seed: int) -> dict[str, str]:
    """What made the picture, for its text chunk."""
    kept = ("source", "name", "crop", "resample", "size", "channels", "store", "labels")
    data = {key: prepared.manifest[key] for key in kept}
    digests = {key: prepared.entry[key] for key in SPLIT_KEYS if key.endswith(("sha256", "digest"))}
    shown = {"split": prepared.name, "seed": seed, "rows": np.concatenate(rows).tolist()}
    return {
        "ddpm.data": json.dumps(data | digests, sort_keys=True),
        "ddpm.shown": json.dumps(shown, sort_keys=True),
    }
