"""The written pages name only what exists: links, commands, options, targets, paths, parameters, messages."""

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from ruamel.yaml import YAML

from ddpm.__main__ import COMMANDS, main
from ddpm.drawing.png import read_about

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "benchmarks/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def code(page: Path) -> list[str]:
    """The lines of code blocks without their comments, and the code spans."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line] + spans(page)


def spans(page: Path) -> list[str]:
    """What stands in backticks outside of code blocks, with line breaks undone."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def commands(page: Path, start: str) -> Iterator[list[str]]:
    """The words of each command in the page that begins with `start`, up to the next shell operator."""
    for line in code(page):
        for command in re.split(r"&&|\||;", line):
            if command.strip().startswith(start):
                yield command.split()


def parameters() -> dict[str, dict[str, object]]:
    tree: dict[str, dict[str, object]] = YAML(typ="safe").load(ROOT / "params.yaml")
    return tree


@pages
def test_relative_links_and_images_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            file = page.parent / target.partition("#")[0]
            assert file.exists(), f"{page.name} links to {target}, which does not exist"


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for words in commands(page, "make "):
        assert words[1] in targets, f"{page.name}: `{' '.join(words)}`: the Makefile has {', '.join(sorted(targets))}"


@pages
def test_ddpm_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page, "python -m ddpm"):
        if words[3:] and words[3] not in {"STAGE", "NAME"}:
            assert words[3] in COMMANDS, f"{page.name}: `{' '.join(words)}` is no command"
            command = main.get_command(click.Context(main), words[3])
            assert command is not None
            if isinstance(command, click.Group) and words[4:] and words[4] != "NAME" and not words[4].startswith("-"):
                context = click.Context(command)
                assert words[4] in command.list_commands(context), f"{page.name}: `{' '.join(words)}` is no command"
                command = command.get_command(context, words[4])
                assert command is not None
            require_options(page, words, command)


@pages
def test_pipeline_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page, "python -m pipeline."):
        require_options(page, words, importlib.import_module(words[2]).main)


def require_options(page: Path, words: list[str], command: click.Command) -> None:
    known = {"--help", *(name for parameter in command.params for name in parameter.opts)}
    for option in (word.partition("=")[0] for word in words[3:] if word.startswith("-")):
        assert option in known, f"{page.name}: `{' '.join(words)}`: there is no {option}"


@pages
def test_parameters_exist(page: Path) -> None:
    tree = parameters()
    text = code(page)
    named = [match for line in text for match in re.findall(r"(?:^|\s)-S '?(\w+)\.(\w+)=", line)]
    named += [match.groups() for line in text if (match := re.fullmatch(r"(\w+)\.(\w+)(?:: .*|=.*)?", line))]
    for section, key in named:
        if section in tree and key not in {"yaml", "csv", "json", "py", "npy", "bin"}:
            assert key in tree[section], f"{page.name}: params.yaml has no {section}.{key}"


@pages
def test_code_paths_exist(page: Path) -> None:
    for path in re.findall(r"\b(?:ddpm|pipeline|tests|docs)/[\w/.-]*\w", " ".join(code(page))):
        assert (ROOT / path).exists(), f"{page.name} names {path}, which does not exist"


@pages
def test_named_functions_stand_where_the_page_says(page: Path) -> None:
    for names, path in re.findall(r"((?:`\w+`(?:,| and)? )+)in `(ddpm/[\w/]+\.py)`", page.read_text()):
        source = (ROOT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def {name}\(|class {name}\b|{name}\b.*=)", source, flags=re.M), (
                f"{path} lacks {name}"
            )


def test_mathematics_names_functions() -> None:
    """The pattern above must not pass by matching nothing."""
    found = re.findall(r"`\w+` in `ddpm/[\w/]+\.py`", (ROOT / "docs/mathematics.md").read_text())
    assert len(found) >= 9


def test_troubleshooting_quotes_messages_of_the_code() -> None:
    table = (ROOT / "README.md").read_text().partition("| the line contains |")[2].partition("\n\n")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, flags=re.M)
    assert len(quoted) >= 10
    source = "\n".join(path.read_text() for path in sorted((ROOT / "ddpm").rglob("*.py")))
    for fragment in quoted:
        assert fragment in source, f"no message contains {fragment!r}"


def test_recipes_in_the_readme_are_those_that_exist() -> None:
    table = (ROOT / "README.md").read_text().partition("| recipe | images |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([\w-]+)` \|", table, flags=re.M)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "pipeline/recipes").glob("*.yaml"))


def test_the_two_commands_and_the_test_command_stand_in_the_readme() -> None:
    lines = [line.split() for line in code(ROOT / "README.md")]
    assert ["make", "quick"] in lines
    assert ["make", "test"] in lines
    assert ["make", "check"] in lines


def test_the_stage_picture_shows_the_stage_table() -> None:
    drawing = load(ROOT / "docs" / "draw_stages.py")
    assert read_about(ROOT / "docs/images/stages.png") == drawing.describe(), "run `python docs/draw_stages.py`"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_decisions_are_numbered_and_have_three_parts() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        assert re.findall(r"^## (.*)$", file.read_text(), flags=re.M) == ["Context", "Choice", "Price"], file.name
        assert file.read_text().startswith(f"# {file.name[:4]} ")
