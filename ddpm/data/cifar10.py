"""CIFAR-10 (Krizhevsky 2009): 60,000 color images of 10 classes, 32x32. How to obtain it: data/README.md."""

from pathlib import Path

from ddpm.data.catalog import Catalog, pick_labels
from ddpm.data.cifar import Batch, Layout, open_records

ARCHIVE = "cifar-10-binary.tar.gz"
OFFICIAL_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
BATCHES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def open_cifar10(
    raw: Path, labels: str, scratch: Path, *, md5: str = OFFICIAL_MD5, batch_images: int = 10_000
) -> Catalog:
    """Open CIFAR-10; splits are `train` (50,000), `test` (10,000) and `all`.

    Args:
        raw: the official archive (its md5 is checked), or its .bin files in a folder or in another archive.
        labels: `class` or `none`.
        scratch: folder for a decompressed copy.
        md5: what the archive must have; another for a made-up archive.
        batch_images: images in each of the six batch files.

    Raises:
        ValueError: a file is missing, changed, cut short or damaged, or other labels.
    """
    batches = tuple(Batch(split, file, batch_images) for split, files in BATCHES.items() for file in files)
    contents = open_records(raw, scratch, Layout(ARCHIVE, md5, batches, (len(CLASSES),)))
    return contents.catalog(*pick_labels("cifar10", labels, "class", contents.labels[:, 0], CLASSES))
