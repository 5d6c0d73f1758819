"""Digests of downloads: the one that data sets are published with, and a way to take them beside other work."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ddpm.digest import file_digest

T = TypeVar("T")
U = TypeVar("U")
_turn = threading.Lock()
"""Other work needs cores, too."""
Record: TypeAlias = dict[str, Any]
"""What the manifest says of a download. Values may be futures: digests of archives take seconds for each gigabyte, and
nothing waits for them before the images are done. `settled` waits."""


def file_md5(path: Path) -> str:
    """The md5 of a file in hexadecimal: the digest that CelebA and CIFAR-10 are published with."""
    return file_digest(path, partial(hashlib.md5, usedforsecurity=False))


def beside(work: Callable[[Path], T], path: Path) -> "Future[T]":
    """Have work on a file done by a thread that keeps no process from ending; one work after the other."""
    future: Future[T] = Future()

    def run() -> None:
        with _turn:
            try:
                future.set_result(work(path))
            except BaseException as error:
                future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def followed(first: "Future[T]", change: Callable[[T], U]) -> "Future[U]":
    """What becomes of a result."""
    after: Future[U] = Future()

    def run(done: "Future[T]") -> None:
        try:
            after.set_result(change(done.result()))
        except BaseException as error:
            after.set_exception(error)

    first.add_done_callback(run)
    return after


def settled(record: Record) -> Record:
    """A record without futures, in it and in the records that it holds."""

    def wait(value: Any) -> Any:
        if isinstance(value, dict):
            return settled(value)
        return value.result() if isinstance(value, Future) else value

    return {key: wait(value) for key, value in record.items()}
