"""What mkdocs calls while it builds the site: pages from elsewhere, generated tables, links, formulas."""

from __future__ import annotations

import re
from typing import Any

import commands
import parameters
from brought import ROOT, brought, relink
from formulas import hide, show
from mkdocs.structure.files import File, Files

MARK = re.compile(r"^<!-- generate: (\w+) -->$", flags=re.M)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
_formulas: dict[str, list[str]] = {}


def decisions() -> str:
    """A list of the decisions: number, title, and the first sentence of the choice."""
    lines = []
    for path in DECISIONS:
        text = path.read_text()
        title = text.partition("\n")[0].removeprefix("# ")
        choice = " ".join(text.partition("## Choice")[2].partition("## Price")[0].strip().removeprefix("- ").split())
        sentence = re.split(r"(?<=[.:;])\s", choice, maxsplit=1)[0].rstrip(":;.") + "."
        lines.append(f"| [{title}]({path.name}) | {without_links(sentence)} |")
    return "\n".join(["| decision | choice |", "|---|---|", *lines])


def without_links(text: str) -> str:
    """Links as their text."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


GENERATED = {"parameters": parameters.page, "commands": commands.page, "recipes": parameters.recipes}


def on_config(config: Any) -> Any:
    """List in the navigation what whole folders bring in: the decisions, and the measured tables of speed."""
    for title, folder in (("Decisions", "decisions/"), ("Speed", "reference/benchmarks/")):
        find(config.nav, title).extend(place for place in brought().values() if place.startswith(folder))
    return config


def find(nav: Any, title: str) -> list[Any]:
    """The list of pages under a title, at any depth; an empty one if there is none."""
    for entry in nav:
        for name, inner in entry.items() if isinstance(entry, dict) else ():
            if name == title:
                pages: list[Any] = inner
                return pages
            if isinstance(inner, list) and (pages := find(inner, title)):
                return pages
    return []


def on_files(files: Files, config: Any) -> Files:
    """Bring in what stands outside of docs/pages."""
    for source, place in brought().items():
        if place.endswith(".md"):
            files.append(File.generated(config, place, content=(ROOT / source).read_text()))
        else:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in generated parts, turn links into links of the site, and hide the formulas from Markdown."""
    markdown = relink(markdown, page.file.src_uri)
    markdown = MARK.sub(lambda match: decisions() if match[1] == "decisions" else GENERATED[match[1]](), markdown)
    markdown, _formulas[page.file.src_uri] = hide(markdown)
    return markdown


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Show the formulas, and let wide tables scroll within the page."""
    return show(html, _formulas.pop(page.file.src_uri))
