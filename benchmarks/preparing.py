"""Ways to turn JPEG frames into one array of images: ours, torchvision's in a DataLoader, and decoding alone."""

import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeAlias
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import CelebA
from torchvision.transforms import Compose, InterpolationMode, PILToTensor, Resize
from torchvision.transforms.functional import crop

from benchmarks.machine import RECIPES
from benchmarks.photos import ARCHIVE
from ddpm.data.catalog import Item
from ddpm.data.digests import settled
from ddpm.data.encoded import EncodedImages
from ddpm.data.files import open_files
from ddpm.data.store import write_images

StoredImages: TypeAlias = NDArray[np.uint8] | EncodedImages
CHUNK = 256
TOP, LEFT, SIDE = 57, 25, 128
"""The crop `ddim-128`."""
CHANGES = (
    *("evaluate.protocol=own", "evaluate.floor=false", "evaluate.metrics=[frechet]", "train.valid_every=0"),
    "data.valid_split=none",
)
"""Of the recipe celeba64: all made-up frames are of the train split."""


def ours(raw: Path, size: int, workers: int, store: str, out: Path) -> None:
    """`python -m ddpm prepare`, from the archive, with manifest, digests, duplicates and statistics.

    It is a process of its own, since its workers import what the first process has as `__main__`; its start counts.

    Raises:
        RuntimeError: it failed.
    """
    changes = (*CHANGES, f"data.image_size={size}", f"data.store={store}")
    words = [word for change in changes for word in ("-S", change)]
    command = [sys.executable, "-m", "ddpm", "prepare", "--params", str(RECIPES / "celeba64.yaml"), *words]
    command += ["--raw", str(raw), "--out", str(out), "--workers", str(workers)]
    environment = os.environ | {"DDPM_TRACKING": "off", "DVC_ROOT": str(raw.parent)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(finished.stderr)


def torchvision(raw: Path, size: int, workers: int, out: Path) -> None:
    """`CelebA` with transforms in a DataLoader, written into an .npy file: the same pixels, and nothing else."""
    cut = partial(crop, top=TOP, left=LEFT, height=SIDE, width=SIDE)
    transform = Compose([cut, Resize(size, InterpolationMode.BILINEAR), PILToTensor()])
    with mock.patch.object(CelebA, "_check_integrity", return_value=True):  # the annotations are made up
        images = CelebA(str(raw.parent), "train", transform=transform)
    loader = DataLoader(images, CHUNK, num_workers=workers)
    chunks = (batch.permute(0, 2, 3, 1).contiguous().numpy() for batch, _ in loader)
    out.mkdir(parents=True, exist_ok=True)
    write_images(out / "train.npy", (len(images), size, size, 3), chunks)


def opened(raw: Path) -> tuple[Callable[[Item], bytes], list[list[Item]]]:
    """What reads an item of the archive, and all items in chunks; its digest has been taken, and disturbs nobody."""
    files = open_files(raw / ARCHIVE, raw)
    settled(files.record)
    firsts = range(0, len(files.items), CHUNK)
    return files.read, [files.items.take(np.arange(first, min(first + CHUNK, len(files.items)))) for first in firsts]


def decoding(
    read: Callable[[Item], bytes], chunks: Sequence[Sequence[Item]], workers: int, *, resample: int = 0
) -> int:
    """Pillow's decoding alone, in the same number of processes, or with cutting and resampling to so many pixels."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        return sum(pool.map(partial(_decode_items, read, resample), chunks))


def reading(images: StoredImages, batch: int) -> int:
    """One epoch of shuffled batches, as training reads them."""
    return sum(len(part) for part in _batches(images, batch))


def _batches(images: StoredImages, batch: int) -> Iterator[NDArray[np.uint8]]:
    order = np.random.default_rng(0).permutation(len(images))
    for first in range(0, len(order), batch):
        yield images[order[first : first + batch]]


def _decode_items(read: Callable[[Item], bytes], resample: int, items: Sequence[Item]) -> int:
    for item in items:
        with Image.open(io.BytesIO(read(item))) as image:
            image.load()
            if resample:
                cut = image.crop((LEFT, TOP, LEFT + SIDE, TOP + SIDE))
                cut.resize((resample, resample), Image.Resampling.BILINEAR)
    return len(items)
