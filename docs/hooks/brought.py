"""Pages and pictures that live elsewhere in the repository, and links between files as links between pages.

Sources link to each other by their places in the repository, so that they also work where the repository is browsed.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from formulas import outside_code

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path("docs/pages")
ELSEWHERE = {
    "docs/mathematics.md": "theory/mathematics.md",
    "docs/evaluation.md": "reference/evaluation.md",
    "docs/samplers.md": "reference/samplers.md",
    "docs/comparison.md": "reference/comparison.md",
    "data/README.md": "reference/data.md",
    "benchmarks/README.md": "reference/benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
FOLDERS = {
    "docs/decisions": "decisions",
    "docs/images": "images",
    "results/figures": "images/figures",
    "benchmarks/results": "reference/benchmarks",
}
KINDS = {".md", ".png", ".webp"}
LINK = re.compile(r"(?P<bang>!?)\[(?P<text>(?:[^\[\]]|`[^`]*`)*)\]\((?P<target>[^)\s]+)\)")


def brought() -> dict[str, str]:
    """File of the repository -> its place in the site, for all that do not stand under docs/pages."""
    found = dict(ELSEWHERE)
    for folder, place in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KINDS:
                found[path.relative_to(ROOT).as_posix()] = f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
    return found


def places() -> dict[str, str]:
    """File of the repository -> its place in the site, for all pages and pictures."""
    own = {path.relative_to(ROOT / PAGES).as_posix() for path in (ROOT / PAGES).rglob("*") if path.suffix in KINDS}
    return {"README.md": "index.md", **{f"{PAGES.as_posix()}/{path}": path for path in own}, **brought()}


def relink(markdown: str, page: str) -> str:
    """Turn links of a page between files of the repository into links within the site.

    A link to a file that is no page (code, a parameter file) becomes its text: the site is read without the repository.

    Args:
        page: its place in the site.

    Raises:
        ValueError: a link to a file that does not exist.
    """
    known = places()
    source = next(file for file, place in known.items() if place == page and file != "README.md")

    def rewrite(match: re.Match[str]) -> str:
        target, _, anchor = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / file).exists():
            raise ValueError(f"{source}: a link must lead to a file of the repository, got {match['target']}")
        if file not in known:
            return match["text"]
        place = os.path.relpath(known[file], posixpath.dirname(page) or ".").replace(os.sep, "/")
        keep = f"#{anchor}" if anchor and file != "README.md" else ""  # the sections of the README are pages here
        return f"{match['bang']}[{match['text']}]({place}{keep})"

    return outside_code(markdown, LINK, rewrite)
