"""The list of data sets. To add one, write a file like `digits` and add one line here."""

from collections.abc import Callable
from pathlib import Path

from ddpm.data.array_sets import open_arrays
from ddpm.data.catalog import Catalog
from ddpm.data.celeba import open_celeba
from ddpm.data.celeba_hq import open_celeba_hq
from ddpm.data.cifar10 import open_cifar10
from ddpm.data.cifar100 import open_cifar100
from ddpm.data.digits import open_digits
from ddpm.data.folder import open_folder
from ddpm.data.huggingface import open_huggingface
from ddpm.data.lsun import open_lsun
from ddpm.data.mnist import open_fashion_mnist, open_mnist

SOURCES: dict[str, Callable[[Path, str, Path], Catalog]] = {
    "digits": open_digits,
    "celeba": open_celeba,
    "celeba-hq": open_celeba_hq,
    "cifar10": open_cifar10,
    "cifar100": open_cifar100,
    "mnist": open_mnist,
    "fashion-mnist": open_fashion_mnist,
    "lsun": open_lsun,
    "folder": open_folder,
    "huggingface": open_huggingface,
    "arrays": open_arrays,
}
"""Name -> (downloaded files, kind of labels, folder for scratch files) -> catalog."""
