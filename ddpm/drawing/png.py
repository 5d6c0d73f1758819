"""PNG files that say how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, PngImagePlugin


def save_png(image: Image.Image, path: Path, about: Mapping[str, str]) -> None:
    """Write an image as PNG, with the parameters that made it as text chunks in the order of their keys.

    The format does not follow from the path, so that a caller may write `name.png.tmp` and rename it. Nothing but the
    pixels and `about` goes into the file: no time, no program name.

    Args:
        about: chunk keyword -> text. A keyword has 1..79 Latin-1 characters (PNG specification, 11.3.4.2).

    Raises:
        ValueError: a keyword is one that PNG does not allow.
    """
    chunks = PngImagePlugin.PngInfo()
    for key in sorted(about):
        if not 1 <= len(key) <= 79 or not key.isascii() or key != key.strip():
            raise ValueError(f"{Path(path).name}: a PNG keyword must have 1..79 plain characters, got {key!r}")
        chunks.add_text(key, about[key])
    image.save(path, format="PNG", pnginfo=chunks, optimize=False, compress_level=9)


def read_about(path: Path) -> dict[str, str]:
    """Return the text chunks of a PNG: what `save_png` was told about the image.

    Raises:
        ValueError: the file is not a PNG.
    """
    with Image.open(path) as image:
        if not isinstance(image, PngImagePlugin.PngImageFile):
            raise ValueError(f"{Path(path).name} must be a PNG file, got {image.format}")
        return {key: str(value) for key, value in sorted(image.text.items())}
