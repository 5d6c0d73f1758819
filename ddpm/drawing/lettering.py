"""Text of any length in a place of a given width: the face that has its letters, line breaks, and a last resort."""

from __future__ import annotations

from pathlib import Path

from PIL import ImageFont

from ddpm.drawing.look import type_face

PLAIN = frozenset(map(chr, range(32, 127))) | set("·…")
"""What Pillow's own face is asked for; it has few letters beyond ASCII."""
NO_LETTER = "\uffff"
"""A code that is no character: its picture is that of a missing letter."""


def face_for(text: str, pixels: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own face, or, where the text goes beyond it, DejaVu Sans, which comes with matplotlib."""
    if PLAIN.issuperset(text):
        return type_face(pixels)
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", pixels)


def has_letters(text: str) -> bool:
    """Whether the face of this text has a picture for each character; none here has Chinese ones."""
    face = face_for(text, 20)
    missing = bytes(face.getmask(NO_LETTER))
    return all(bytes(face.getmask(letter)) != missing for letter in set(text) - PLAIN)


def wrap(text: str, face: ImageFont.FreeTypeFont, width_pixels: float, max_lines: int) -> list[str]:
    """Break text between words, and a word that is wider than a line within it; what is left ends in an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < max_lines - 1:
        end = _fitting(rest, face, width_pixels)
        if end < len(rest):
            end = max(rest.rfind(" ", 0, end + 1), 0) or end
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return [*lines, shorten(rest, face, width_pixels)] if rest else lines


def shorten(text: str, face: ImageFont.FreeTypeFont, width_pixels: float) -> str:
    """The text, or as much of its start as fits together with an ellipsis."""
    if face.getlength(text) <= width_pixels:
        return text
    return text[: _fitting(text, face, width_pixels - face.getlength("…"))].rstrip() + "…"


def _fitting(text: str, face: ImageFont.FreeTypeFont, width_pixels: float) -> int:
    """How many characters fit, at least one."""
    end = len(text)
    while end > 1 and face.getlength(text[:end]) > width_pixels:
        end -= 1
    return end
