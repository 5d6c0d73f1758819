"""The documentation site: it builds without a warning, asks no other host for anything, and its parts are complete."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image, ImageChops, ImageStat

from ddpm.__main__ import COMMANDS
from ddpm.drawing.png import read_about
from ddpm.experiment.params import Params, section_type

ROOT = Path(__file__).resolve().parents[1]
THEORY = sorted((ROOT / "docs/images/theory").glob("*.png"))
LOADING = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "audio": "src"}


class Reader(HTMLParser):
    """What a page loads, where its links lead, its anchors, its formulas, and its text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.formulas = 0
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag in LOADING and LOADING[tag] in found:
            self.loads.append(found[LOADING[tag]])
        if tag == "link" and found.get("rel") not in {"canonical", "prev", "next"}:
            self.loads.append(found["href"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.anchors.update(found[key] for key in ("id", "name") if key in found)
        self.formulas += tag == "math"
        if tag in {"code", "pre", "script", "style", "math"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.text += data


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "error::UserWarning", "-m", "mkdocs", "build", "--strict"]
    command += ["--config-file", str(ROOT / "docs/mkdocs.yml"), "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO ")]  # --quiet would hide warnings
    assert lines == [], "the site must build without a warning"
    return folder


@pytest.fixture(scope="session")
def read(site: Path) -> dict[Path, Reader]:
    return {path: Reader(path.read_text()) for path in sorted(site.rglob("*.html"))}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_loads_nothing_from_other_hosts(site: Path, read: dict[Path, Reader]) -> None:
    assert len(read) > 60
    for path, page in read.items():
        assert [target for target in page.loads if re.match(r"\w+:|//", target) and target[:5] != "data:"] == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", path.read_text()), path


def test_links_and_anchors_lead_somewhere(read: dict[Path, Reader]) -> None:
    for path, page in read.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in [*page.links, *page.loads]:
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            file = (path.parent / target).resolve() if target else path
            assert file.is_file(), f"{path.name}: {link}"
            if anchor and file.suffix == ".html":
                assert anchor in read[file].anchors, f"{path.name}: {link}"


def test_every_formula_became_mathml(site: Path, read: dict[Path, Reader]) -> None:
    for name in ("forward", "learning", "sampling", "ddim", "guidance", "likelihood", "score-sde"):
        page = read[site / f"theory/{name}.html"]
        assert page.formulas >= 6, name
    assert read[site / "theory/mathematics.html"].formulas >= 300
    for path, page in read.items():
        assert "$" not in page.text, path
        assert not re.search(r"xformula\d+x", path.read_text()), path


def test_generated_pages_have_every_parameter_command_and_decision(site: Path) -> None:
    parameters = (site / "reference/parameters.html").read_text()
    for section in Params.model_fields:
        for key in section_type(section).model_fields:
            assert f"<code>{section}.{key}</code>" in parameters
    assert "number, above 0, below 1" in parameters  # schedule.beta_T
    commands = (site / "reference/commands.html").read_text()
    for name in COMMANDS:
        assert f'<h2 id="{name}">' in commands
    for option in ("--guess", "--range", "--width", "--grid"):
        assert (option in commands) == (option != "--guess")
    decisions = (site / "decisions/index.html").read_text()
    for path in (ROOT / "docs/decisions").glob("*.md"):
        assert f'href="{path.stem}.html"' in decisions


def test_lists_and_tables_of_all_pages_are_lists_and_tables(read: dict[Path, Reader]) -> None:
    """Markdown needs an empty line in front of them, where other readers do not."""
    for path, page in read.items():
        assert not re.search(r"^(- |\d+\. |\|)", page.text, flags=re.M), path


def test_examples_in_the_pages_run() -> None:
    doctests = load(ROOT / "docs/hooks/doctests.py")
    results = [doctests.run(page) for page in sorted((ROOT / "docs").rglob("*.md"))]
    assert sum(result.attempted for result in results) >= 15
    assert sum(result.failed for result in results) == 0


def test_the_page_of_troubles_has_all_of_the_readme_and_quotes_the_code() -> None:
    pattern = r"^\| `([^`]+)` \|"
    page = re.findall(pattern, (ROOT / "docs/pages/troubleshooting.md").read_text(), flags=re.M)
    table = (ROOT / "README.md").read_text().partition("| the line contains |")[2].partition("\n\n")[0]
    assert set(re.findall(pattern, table, flags=re.M)) <= set(page)
    source = "\n".join(path.read_text() for path in sorted((ROOT / "ddpm").rglob("*.py")))
    for fragment in page:
        assert fragment in source, f"no message contains {fragment!r}"


@pytest.mark.parametrize("path", THEORY, ids=lambda path: path.stem)
def test_figures_of_the_theory_are_what_the_code_draws(path: Path) -> None:
    drawing = load(ROOT / "docs/draw_theory.py")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        drawn = drawing.picture(path.stem).convert("RGB")
    finally:
        torch.set_num_threads(threads)
    with Image.open(path) as stored:
        assert drawn.size == stored.size
        difference = ImageChops.difference(drawn, stored.convert("RGB"))
    # another machine may round a line to the next pixel
    assert max(ImageStat.Stat(difference).mean) < 1, "run `python docs/draw_theory.py`"
    assert read_about(path)["ddpm.code"] == f"docs/draw_theory.py {path.stem}"
    assert path.stat().st_size < 60_000


def test_every_figure_of_the_theory_is_stored_and_shown() -> None:
    names = list(load(ROOT / "docs/draw_theory.py").FIGURES)
    assert sorted(names) == [path.stem for path in THEORY]
    pages = "\n".join(path.read_text() for path in (ROOT / "docs/pages/theory").glob("*.md"))
    for name in names:
        assert f"images/theory/{name}.png" in pages
