"""Raw images -> one uint8 array per split, its labels, and a manifest of where every byte came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from ddpm.data import splits, store
from ddpm.data.crops import CROPS
from ddpm.data.decode import Decoder, decode
from ddpm.data.sources import SOURCES
from ddpm.digest import file_sha256
from ddpm.experiment.workspace import atomic_path

if TYPE_CHECKING:
    from ddpm.data.catalog import Catalog
    from ddpm.experiment.params import DataParams

Tick: TypeAlias = Callable[[int], object]
"""Called with the number of images that were added."""

NAMED_FILES = 10
"""So many damaged files are named in an error; the rest are counted."""


def prepare(
    data: DataParams,
    raw: Path,
    out: Path,
    *,
    workers: int,
    announce: Tick = lambda _: None,
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """Decode, crop and store the selected images.

    Writes train.npy, train_labels.npy, valid.npy, valid_labels.npy and manifest.json, all of them or none. The bytes
    do not depend on `workers`.

    Args:
        data: section `data` of the parameters.
        raw: folder of the downloaded files of this source; `digits` needs none.
        out: folder of the prepared store; made if it does not exist.
        workers: decoding processes.
        announce: called once with the number of images to come.
        tick: called with the number of images that were added.

    Returns:
        The manifest.

    Raises:
        ValueError: a refused parameter; missing, changed or damaged files.
    """
    catalog = SOURCES[data.source](raw, data.labels)
    chosen = splits.choose(catalog.splits, data.train_split, data.valid_split)
    catalog.require([catalog.names[number] for numbers in chosen.values() for number in numbers])
    announce(sum(map(len, chosen.values())))
    workers = workers if catalog.parallel else 1
    damaged: list[str] = []
    with ExitStack() as stack:

        def place(name: str) -> Path:
            return stack.enter_context(atomic_path(out / name))

        manifest_path = place(store.MANIFEST)  # entered first, so put in place last: it vouches for the arrays
        entries = {}
        for split, numbers in chosen.items():
            images, labels = place(store.images_file(split)), place(store.labels_file(split))
            damaged += _write_images(data, catalog, numbers, images, workers, tick)
            store.write_labels(labels, catalog.labels[numbers])
            entries[split] = _entry(catalog, numbers, images, labels)
        _refuse_damage(raw, damaged, sum(map(len, chosen.values())))
        manifest = _manifest(data, catalog, entries)
        manifest_path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest


def _write_images(
    data: DataParams, catalog: Catalog, numbers: NDArray[np.int64], path: Path, workers: int, tick: Tick
) -> list[str]:
    """Decode the items and stream them to `path`; the names of damaged files are returned."""
    decoder = Decoder(catalog.read, data.crop, data.image_size, data.channels)
    names = [catalog.names[number] for number in numbers]
    damaged: list[str] = []

    def chunks() -> Iterator[NDArray[np.uint8]]:
        for images, unreadable in decode(decoder, names, workers=workers, tick=tick):
            damaged.extend(unreadable)
            yield images

    store.write_images(path, (len(names), data.image_size, data.image_size, data.channels), chunks())
    return damaged


def _refuse_damage(raw: Path, damaged: list[str], num_images: int) -> None:
    if damaged:
        rest = f" and {len(damaged) - NAMED_FILES} more" if len(damaged) > NAMED_FILES else ""
        raise ValueError(
            f"{raw}: every image must be readable, {len(damaged)} of {num_images} are damaged: "
            f"{', '.join(damaged[:NAMED_FILES])}{rest}; download them again (data/README.md)"
        )


def _entry(catalog: Catalog, numbers: NDArray[np.int64], images: Path, labels: Path) -> dict[str, Any]:
    counts = np.bincount(catalog.labels[numbers], minlength=len(catalog.classes))
    return {
        "images": len(numbers),
        "sha256": file_sha256(images),
        "labels_sha256": file_sha256(labels),
        "images_of_class": {name: int(count) for name, count in zip(catalog.classes, counts, strict=False)},
    }


def _manifest(data: DataParams, catalog: Catalog, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the arrays are: no clock, host or path, so the same data give the same bytes."""
    entries["train"]["selection"] = data.train_split
    entries["valid"]["selection"] = data.valid_split
    return {
        "source": data.source,
        "raw": dict(catalog.record),
        "crop": data.crop,
        "resample": CROPS[data.crop].kernel.name.lower(),
        "size": data.image_size,
        "channels": data.channels,
        "labels": data.labels,
        "classes": list(catalog.classes),
        "splits": entries,
        "versions": {
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "libjpeg": features.version("jpg"),
            "libjpeg_turbo": features.version("libjpeg_turbo"),
        },
    }
