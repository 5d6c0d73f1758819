"""The page: one file, nothing fetched, nothing run, readable by machines and in a real browser."""

import io
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ddpm.report.page import Page, Picture, Section, Table, code_spans, render

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
browser_only = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: make browser")


def picture(color: str, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (900, 40), color).save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def page() -> Page:
    moving = picture("red", "WEBP", save_all=True, append_images=[Image.new("RGB", (900, 40), "blue")], duration=50)
    figure = Picture("walk", "A walk.", "It & its <end>.", picture("green", "PNG"), (900, 40), moving, {"seed": "0"})
    table = Table("Digests", ("file", "sha256"), [("a", "0" * 64), ("b", "x" * 300)])
    numbers = Table("Numbers", ("metric", "value"), [("fid@5", "1.5")], numbers=True)
    return Page(
        "A run <of> digits",
        "One & only.",
        [("fid@5", "1.5", "few")],
        [
            Section("run", "What was run", ["A note."], ["A warning."], command="dvc repro && " + "x" * 400),
            Section("figures", "Figures", tables=[table, numbers], pictures=[figure]),
        ],
    )


def test_code_in_a_note_is_code_and_stays_text() -> None:
    assert code_spans("`a <b>` & c") == "<code>a &lt;b&gt;</code> &amp; c"


def test_a_folded_table_and_the_first_picture(page: Page) -> None:
    figure, *_ = page.sections[1].pictures
    folded = Section("all", "All", tables=[Table("Everything", ("a", "b"), [("c", "d")], folded=True)])
    html = render(Page("Title", "Lead.", [], [folded], first=figure))
    assert re.search(r'<details class="folded"><summary>Everything</summary>\s*<div class="scroll"', html)
    assert html.index('id="figure-first-walk"') < html.index("<nav")
    assert re.findall(r"<h(\d)", html) == ["1", "2"]
    assert page.picture_bytes == len(figure.png) + len(figure.webp)


class Reader(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def test_the_same_page_gives_the_same_text(page: Page) -> None:
    assert render(page) == render(page)


def test_nothing_is_fetched_and_nothing_runs(page: Page) -> None:
    html = render(page)
    reader = Reader(html)
    assert not reader.of("script", "iframe", "object", "embed", "form")
    targets = [a[key] or "" for _, a in reader.tags for key in ("src", "srcset", "href") if key in a]
    assert len(targets) > 4
    assert all(target.startswith(("data:", "#")) for target in targets)
    assert not re.search(r"url\(|@import", html)
    policy = next(a["content"] for a in reader.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_text_is_text_and_not_markup(page: Page) -> None:
    html = render(page)
    assert "A run &lt;of&gt; digits" in html
    assert "It &amp; its &lt;end&gt;." in html


def test_headings_regions_and_texts_for_readers_who_do_not_see(page: Page) -> None:
    html = render(page)
    reader = Reader(html)
    assert re.findall(r"<h(\d)", html) == ["1", "2", "2", "3"]
    assert [a["lang"] for a in reader.of("html")] == ["en"]
    assert [a["alt"] for a in reader.of("img")] == ["A walk. It & its <end>."]
    assert all(a.get("tabindex") == "0" and a.get("aria-label") for a in reader.of("div", "pre") if a.get("role"))
    anchors = {a["id"] for _, a in reader.tags if a.get("id")}
    links = [(a["href"] or "").removeprefix("#") for a in reader.of("a")]
    assert links == ["content", "run", "figures"]
    assert set(links) <= anchors


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@browser_only
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_at_any_width_and_asks_nobody(
    page: Page, browser: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(page))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    levels = [
        int(level) for level in re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    ]
    assert (sum(levels[:3]) > 384) == (scheme == "light")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    context.close()


@browser_only
@pytest.mark.parametrize(("motion", "kind"), [("reduce", "image/png"), ("no-preference", "image/webp")])
def test_pictures_stand_still_where_that_is_asked_for(
    page: Page, browser: Any, tmp_path: Path, motion: str, kind: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(page))
    context = browser.new_context(reduced_motion=motion)
    tab = context.new_page()
    tab.goto(path.as_uri())
    assert tab.evaluate("document.images[0].currentSrc").startswith(f"data:{kind};")
    context.close()
