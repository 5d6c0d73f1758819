"""Photographs as files: in a folder, or in a zip that is read without unpacking it."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

FORMATS = ("JPEG", "PNG")
"""The decoders that may open a download; PIL knows many more, some of them fragile."""


class FolderPhotos:
    """Reads the photographs of one folder by file name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def absent(self, names: Sequence[str]) -> list[str]:
        """The names that the folder lacks."""
        present = {entry.name for entry in self._path.iterdir()}
        return [name for name in names if name not in present]

    def __call__(self, name: str) -> Image.Image:
        """The decoded photograph."""
        with Image.open(self._path / name, formats=FORMATS) as image:
            image.load()
            return image


class ZipPhotos:
    """Reads the photographs of a zip by file name, whatever folder of the zip they lie in.

    The zip is opened at the first use in each process; nothing is written to the disk.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        self._entries: dict[str, str] = {}

    def __reduce__(self) -> tuple[type["ZipPhotos"], tuple[Path]]:
        return ZipPhotos, (self._path,)  # an open file does not travel to another process

    def absent(self, names: Sequence[str]) -> list[str]:
        """The names that the zip lacks."""
        self._open()
        return [name for name in names if name not in self._entries]

    def __call__(self, name: str) -> Image.Image:
        """The decoded photograph; the zip's checksum is verified on the way."""
        content = self._open().read(self._entries[name])
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            return image

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None:
            try:
                archive = zipfile.ZipFile(self._path)
            except (zipfile.BadZipFile, OSError) as error:
                raise ValueError(f"{self._path}: must be a whole zip file ({error}); download it again") from None
            try:
                self._entries = _entries(self._path, archive.namelist())
            except ValueError:
                archive.close()
                raise
            self._archive = archive
        return self._archive


def require_inside(path: Path, name: str, way_out: str) -> None:
    """Refuse an entry of a zip that names a place outside of it.

    Args:
        way_out: what the message advises.

    Raises:
        ValueError: an absolute name, a drive, a backslash, or a way upwards.
    """
    if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
        raise ValueError(f"{path}: entries must lie inside the zip, got {name!r}; {way_out}")


def _entries(path: Path, names: Sequence[str]) -> dict[str, str]:
    """File name -> entry name.

    Raises:
        ValueError: an entry points out of the zip, or two entries have the same file name.
    """
    entries: dict[str, str] = {}
    for name in names:
        require_inside(path, name, "download the official archive")
        file = PurePosixPath(name).name
        if name.endswith("/") or file.startswith("."):  # folders, and what desktops add
            continue
        if file in entries:
            raise ValueError(f"{path}: file names must be unique, got {entries[file]!r} and {name!r}; remove one")
        entries[file] = name
    return entries
