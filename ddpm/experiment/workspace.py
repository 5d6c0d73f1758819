"""Files that survive a crash: atomic writes, locks, and the place of unfinished work.

Contract 4: write `name.tmp` in the same folder, fsync, `os.replace`; an output is never opened in place,
because DVC may have linked it to its cache. Contract 6: a stage's unfinished state lives in
`work/<stage>/<fingerprint>/`, locked with flock, and goes away when the stage succeeds.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def project_root() -> Path:
    """The main checkout: $DVC_ROOT (which DVC sets for its stages, also in snapshots of experiments), or the cwd."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield `path.tmp` to write to; on success flush it to the disk and put it in the place of `path`.

    On an error, also a full disk, the temporary file is removed and the old `path` stays whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105  (the contract names os.replace)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # writing to an open file tells what went wrong, but not where
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, sorted and indented: the same content gives the same bytes."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def copy_file(source: Path, path: Path) -> None:
    """Put a copy of `source` at `path` atomically."""
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)


def move_file(source: Path, path: Path) -> None:
    """Put `source` in the place of `path` atomically; between two disks it is copied first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, path)  # noqa: PTH105  (the contract names os.replace)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, path)
        source.unlink()
    _sync_folder(path.parent)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive flock on `path`, waiting for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def work_path(stage: str, fingerprint: str, root: Path) -> Path:
    """Where unfinished state of a stage lies."""
    return root / "work" / stage / fingerprint[:16]


@contextmanager
def work_folder(stage: str, fingerprint: str, root: Path) -> Iterator[Path]:
    """Yield `work/<stage>/<fingerprint>/` for unfinished state; removed on success, kept on failure.

    The lock is one per stage and fingerprint and dies with its process, so a killed run never blocks the next.

    Raises:
        ValueError: another process is running the same stage with the same parameters.
    """
    folder = work_path(stage, fingerprint, root)
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder.with_suffix(".lock")
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ValueError(
                f"{folder.relative_to(root)}: the same `{stage}` is already running (process {owner}); wait or stop it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield folder
        shutil.rmtree(folder)  # the lock file stays: removing it would let two later runs hold two different files


def require_writable(path: Path) -> None:
    """Refuse a place where results cannot be written, before the expensive work starts.

    Raises:
        ValueError: the nearest existing folder above `path` is not a writable folder.
    """
    folder = path if path.is_dir() else path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: results must go to a writable folder; choose another with --out")
    probe = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        probe.write_bytes(b"")
    except OSError as error:
        raise ValueError(f"{folder}: cannot write here ({error.strerror}); choose another folder with --out") from None
    finally:
        probe.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
