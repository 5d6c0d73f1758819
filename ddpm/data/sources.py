"""The list of data sets. To add one, write a file like `digits` and add one line here."""

from collections.abc import Callable
from pathlib import Path

from ddpm.data.catalog import Catalog
from ddpm.data.celeba import open_celeba
from ddpm.data.cifar10 import open_cifar10
from ddpm.data.digits import open_digits

SOURCES: dict[str, Callable[[Path, str], Catalog]] = {
    "digits": open_digits,
    "celeba": open_celeba,
    "cifar10": open_cifar10,
}
"""Name -> (folder of the downloaded files, kind of labels) -> catalog."""
