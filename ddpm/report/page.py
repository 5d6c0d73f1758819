"""The pages: what they hold, and how that becomes HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

MEDIA = {".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row names the row.

    Attributes:
        title: what screen readers announce; it stands above the table.
        head: of the columns.
        rows: cells as text.
        numbers: whether all cells but the first are numbers, which stand at the right.
        folded: whether only its title is seen until it is opened.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: of its file, without suffix.
        title, caption: what it is, and what one sees; the caption is also its text for those who do not see it.
        png: the image, or the still of an animation.
        size: width and height in pixels.
        webp: the animation, or nothing.
        about: what made it, name -> text.
    """

    name: str
    title: str
    caption: str
    png: bytes
    size: tuple[int, int]
    webp: bytes = b""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of a page, in the order in which its fields are shown.

    Attributes:
        anchor: the name of its place, for links.
        notes: paragraphs; `this` is set as code.
        warnings: the same that must not be overlooked.
        command: a command to copy.
    """

    anchor: str
    title: str
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    command: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        lead: one or two sentences under the title.
        facts: (name, value, remark) of what a reader wants first.
        first: the picture beside the title, or None.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    first: Picture | None = None

    @property
    def picture_bytes(self) -> int:
        """The size of all pictures as files; as text in the page they are a third larger."""
        pictures = [picture for section in self.sections for picture in section.pictures]
        pictures += [self.first] if self.first else []
        return sum(len(picture.png) + len(picture.webp) for picture in pictures)


def render(page: Page) -> str:
    """The page as one HTML file: pictures inside, no script, nothing fetched; the same page gives the same text."""
    html: str = _environment().get_template("page.html.jinja").render(page=page)
    return html


def data_uri(content: bytes, suffix: str) -> str:
    """Bytes as an address that needs no network (RFC 2397)."""
    return f"data:{MEDIA[suffix]};base64,{base64.b64encode(content).decode()}"


def code_spans(text: str) -> Markup:
    """Text as HTML: what stands between backticks is code, everything is escaped."""
    from markupsafe import Markup

    kinds = Markup("{}"), Markup("<code>{}</code>")
    return Markup("").join(kinds[place % 2].format(part) for place, part in enumerate(text.split("`")))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ddpm.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"data_uri": data_uri, "code_spans": code_spans}
    return environment
