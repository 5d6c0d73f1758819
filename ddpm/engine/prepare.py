"""Raw images -> images and labels of two splits, and a manifest of where every byte came from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import features

from ddpm.data import duplicates, splits, store
from ddpm.data.catalog import ABSENT, Item
from ddpm.data.crops import FRAME, kernel_of
from ddpm.data.decode import decode, load_early
from ddpm.data.decoder import DIGEST_BYTES, Decoder
from ddpm.data.digests import settled
from ddpm.data.files import find_download
from ddpm.data.sources import SOURCES
from ddpm.digest import file_sha256
from ddpm.engine.growing import GrowingSplit
from ddpm.engine.halving import PAYS_FROM, halve
from ddpm.experiment.workspace import move_file, write_bytes

if TYPE_CHECKING:
    from ddpm.data.catalog import Catalog
    from ddpm.experiment.params import DataParams

Tick: TypeAlias = Callable[[int], object]
"""Called with the number of images that were added."""
Chosen: TypeAlias = dict[str, NDArray[np.int64]]

NAMED_FILES = 10
"""So many damaged files are named in an error; the rest are counted."""


def prepare(
    data: DataParams,
    raw: Path,
    out: Path,
    work: Path,
    *,
    workers: int,
    announce: Tick = lambda _: None,
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """Decode, crop and store the selected images.

    Writes train.npy, train_labels.npy, valid.npy, valid_labels.npy and manifest.json, all of them or none. The bytes
    do not depend on `workers`, nor on how often the work was killed and started again. Memory does not grow with the
    images, but for about 150 bytes each.

    Args:
        data: section `data` of the parameters.
        raw: the downloaded files of this source, a folder or an archive; `digits` needs none.
        out: folder of the prepared store; made if it does not exist.
        work: folder of unfinished work of these parameters; made if it does not exist. It goes on where the files are
            the same as then, and starts anew where they are not.
        workers: decoding processes.
        announce: called once with the number of images to come.
        tick: called with the number of images that were added.

    Returns:
        The manifest.

    Raises:
        ValueError: a refused parameter; missing, changed or damaged files.
    """
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    if workers > 1 and _faces_are_halved(data):
        find_download(raw)  # first: nothing is loaded for what is not there
        load_early()
    catalog = SOURCES[data.source](raw, data.labels, scratch)
    chosen = splits.choose(catalog.splits, catalog.items, data.train_split, data.valid_split)
    _require_present(raw, catalog, chosen)
    announce(sum(map(len, chosen.values())))
    _require_same_files(work, catalog.stamp)
    grown = {}
    for split, numbers in chosen.items():
        grown[split] = GrowingSplit(work, split, data.shape, len(numbers), data.store == "encoded")
        _grow(data, catalog, numbers, grown[split], workers if catalog.parallel else 1, tick)
    if data.on_error == "stop":
        _refuse_damage(raw, catalog, grown)
    _require_images(raw, grown)
    kept = {split: chosen[split][some.kept] for split, some in grown.items()}
    for split, some in grown.items():
        store.write_labels(work / store.labels_file(split), catalog.labels[kept[split]])
        some.finish()
    manifest = _manifest(data, catalog, kept, grown, work)
    _put_in_place(manifest, list(grown), work, out)
    return manifest


def _faces_are_halved(data: DataParams) -> bool:
    """Whether torch will be wanted, as far as parameters tell: it can load while all names of CelebA are read."""
    counts = map(splits.at_most, (data.train_split, data.valid_split))
    if data.source != "celeba" or all(count is not None and count < PAYS_FROM for count in counts):
        return False
    frame = np.zeros((FRAME[1], FRAME[0], 3), np.uint8)
    return _halves(Decoder(lambda _: frame, data.crop, data.resample, data.shape, halve=halve), Item("", ()))


def _halves(decoder: Decoder, item: Item) -> bool:
    height, width, _ = decoder.shape
    return height <= width and decoder.halves(item)


def _require_present(raw: Path, catalog: Catalog, chosen: Chosen) -> None:
    numbers = np.concatenate(list(chosen.values()))
    absent = numbers[catalog.items.places[numbers, 0] == ABSENT]
    if absent.size:
        raise ValueError(
            f"{raw}: all {len(numbers)} selected images must be here, {len(absent)} are missing, first "
            f"{catalog.items.name(int(absent[0]))}; {catalog.way_out}"
        )


def _require_same_files(work: Path, stamp: str) -> None:
    """Throw away unfinished work of other files."""
    mark = work / "stamp"
    if not mark.is_file() or mark.read_text() != stamp:
        for path in work.glob("*.*"):  # what grows; the scratch folder was filled just now
            path.unlink()
        write_bytes(mark, stamp.encode())


def _grow(
    data: DataParams,
    catalog: Catalog,
    numbers: NDArray[np.int64],
    some: GrowingSplit,
    workers: int,
    tick: Tick,
) -> None:
    """Prepare what is left of a split."""
    decoder = Decoder(catalog.read, data.crop, data.resample, data.shape, lossless=some.lossless)
    done = some.progress.items
    tick(done)
    if workers > 1 and len(numbers) - done >= PAYS_FROM:
        faster = replace(decoder, halve=halve)
        decoder = faster if _halves(faster, catalog.items.take(numbers[done : done + 1])[0]) else decoder
    with some:
        chunks = decode(
            decoder,
            lambda first, last: catalog.items.part(numbers[first:last]),
            len(numbers),
            some.target,
            workers=workers,
            done=done,
        )
        for chunk in chunks:
            some.append(chunk)
            tick(chunk.num_items)
        some.save()


def _refuse_damage(raw: Path, catalog: Catalog, grown: dict[str, GrowingSplit]) -> None:
    damaged = [failure for some in grown.values() for failure in some.progress.failures]
    if damaged:
        rest = f" and {len(damaged) - NAMED_FILES} more" if len(damaged) > NAMED_FILES else ""
        num_items = sum(some.progress.items for some in grown.values())
        raise ValueError(
            f"{raw}: every image must be readable, {len(damaged)} of {num_items} are damaged: "
            f"{', '.join(failure.name for failure in damaged[:NAMED_FILES])}{rest} (the first: {damaged[0].reason}); "
            f"{catalog.way_out}, or go on without them: -S data.on_error=skip (the others are done and kept)"
        )


def _require_images(raw: Path, grown: dict[str, GrowingSplit]) -> None:
    for split, some in grown.items():
        if some.progress.items and not some.progress.images:
            raise ValueError(f"{raw}: an image of data.{split}_split must be readable, got none; check the files")


def _manifest(
    data: DataParams, catalog: Catalog, kept: Chosen, grown: dict[str, GrowingSplit], work: Path
) -> dict[str, Any]:
    """What the arrays are: no clock, host or path, so the same data give the same bytes."""
    order = list(grown)
    repeated = duplicates.report(
        [grown[split].digests for split in order], lambda split, row: catalog.items.name(int(kept[order[split]][row]))
    )
    selections = {"train": data.train_split, "valid": data.valid_split}
    return {
        "source": data.source,
        "name": data.name,
        "raw": settled(catalog.record),
        "crop": data.crop,
        "resample": kernel_of(data.crop, data.resample).name.lower(),
        "size": data.size,
        "channels": data.channels,
        "store": data.store,
        "labels": data.labels,
        "classes": list(catalog.classes),
        "splits": {
            split: {"selection": selections[split], **_entry(catalog, kept[split], some, work)}
            for split, some in grown.items()
        },
        "duplicates": repeated,
        "versions": {
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "libjpeg": features.version("jpg"),
            "libjpeg_turbo": features.version("libjpeg_turbo"),
            "libwebp": features.version("webp"),
            "simplejpeg": simplejpeg.__version__,
            "zlib": features.version("zlib"),
        },
    }


def _entry(catalog: Catalog, kept: NDArray[np.int64], some: GrowingSplit, work: Path) -> dict[str, Any]:
    """What one split is; the last two digests do not depend on how it was packed, or is stored."""
    done, labels = some.progress, work / store.labels_file(some.images.stem)
    counts = np.bincount(catalog.labels[kept], minlength=len(catalog.classes))
    files, digests = hashlib.sha256(), some.digests
    for name in catalog.items.raw_names(kept):
        files.update(name + b"\0")
    files.update(digests[:, :DIGEST_BYTES].tobytes())
    return {
        "images": done.images,
        "images_of_class": {name: int(count) for name, count in zip(catalog.classes, counts, strict=False)},
        "sha256": some.sha256,
        "labels_sha256": file_sha256(labels),
        "files_digest": files.hexdigest(),
        "pixels_digest": hashlib.sha256(digests[:, DIGEST_BYTES:].tobytes()).hexdigest(),
        "skipped": [{"name": failure.name, "reason": failure.reason} for failure in done.failures],
        "handled": dict(sorted(done.notes.items())),
        **_levels(done.images * some.shape[0] * some.shape[1], done.sums),
    }


def _levels(num_pixels: int, sums: list[list[int]]) -> dict[str, Any]:
    """Mean and standard deviation of each channel, in levels 0..255, from whole numbers; None without pixels."""
    if not num_pixels:
        return {"mean": None, "std": None}
    means, squares = ([total / num_pixels for total in totals] for totals in sums)
    deviations = [max(square - mean**2, 0.0) ** 0.5 for mean, square in zip(means, squares, strict=True)]
    return {"mean": [round(mean, 4) for mean in means], "std": [round(deviation, 4) for deviation in deviations]}


def _put_in_place(manifest: dict[str, Any], names: list[str], work: Path, out: Path) -> None:
    """Move everything to where it belongs; the manifest last: it vouches for the arrays."""
    (work / store.MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    files = [file(split) for split in names for file in (store.images_file, store.labels_file)]
    for name in (*files, store.MANIFEST):
        move_file(work / name, out / name)
    shutil.rmtree(work / "scratch", ignore_errors=True)
