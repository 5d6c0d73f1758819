"""`python -m ddpm figure NAME`: how options are read, and what is refused before anything is drawn."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_type_hints

import click
import pytest
from click.testing import CliRunner

from ddpm.__main__ import main
from ddpm.cli.figure import own_option
from ddpm.drawing.png import read_about
from ddpm.figures import FIGURES
from ddpm.figures.figure import load
from ddpm.figures.options import option

ROOT = Path(__file__).parents[2]
NEEDY = [name for name in FIGURES if load(name).needs]


@dataclass(frozen=True)
class Options:
    """One field of each kind."""

    how_many: int = option(3, "A number of things.", least=1, most=9)
    share: float = option(0.5, "A share.", least=0, most=1)
    kind: Literal["fast", "good"] = option("fast", "A choice.")
    times: tuple[int, ...] = option((), "Steps.", least=0)
    scales: tuple[float, ...] = option((0.0, 1.5), "Scales.", least=0, most=8)
    shared: bool = option(True, "Yes or no.")
    title: str = option("a", "A word.")
    beta_T: float = option(0.02, "A name with a capital.")


@pytest.fixture
def parse():
    """The options that a command line gives, or its message."""

    def run(*words: str):
        seen = {}
        command = lambda **given: seen.update(given)  # noqa: E731
        for field in fields(Options):
            command = own_option(field, get_type_hints(Options)[field.name])(command)
        result = CliRunner().invoke(click.command(name="it")(command), list(words))
        return Options(**seen) if result.exit_code == 0 and seen else result.output

    return run


def test_every_kind_of_option_is_read(parse):
    assert parse() == Options()
    given = (
        "--how-many",
        "9",
        "--share",
        "0",
        "--kind",
        "good",
        "--times",
        "0, 5,1000",
        "--scales",
        "8",
        "--no-shared",
    )
    assert parse(*given, "--title", "b") == Options(9, 0.0, "good", (0, 5, 1000), (8.0,), False, "b")
    assert parse("--scales", "").scales == ()
    assert parse("--shared").shared is True
    assert parse("--beta-T", "1").beta_T == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--how-many", "10"), "Invalid value for '--how-many': 10 is not in the range 1<=x<=9."),
        (("--how-many", "2.5"), "Invalid value for '--how-many': '2.5' is not a valid integer range."),
        (("--share", "1.1"), "Invalid value for '--share': 1.1 is not in the range 0<=x<=1."),
        (("--kind", "slow"), "Invalid value for '--kind': 'slow' is not one of 'fast', 'good'."),
        (("--times", "3,-1"), "Invalid value for '--times': -1 is not in the range x>=0."),
        (("--times", "3;4"), "Invalid value for '--times': '3;4' is not a valid integer range."),
        (("--scales", "1,9"), "Invalid value for '--scales': 9.0 is not in the range 0<=x<=8."),
        (("--how_many", "1"), "No such option '--how_many'"),
    ],
)
def test_what_does_not_fit_is_named(parse, words, message):
    assert message in parse(*words)


def test_the_help_says_range_default_and_meaning(parse):
    text = " ".join(parse("--help").split())
    for part in ("--how-many INTEGER RANGE A number of things. [default: 3; 1<=x<=9]", "--scales N,N,..."):
        assert part in text
    for part in ("[default: 0,1.5]", "[fast|good]", "--shared / --no-shared"):
        assert part in text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty project, which is the current folder."""
    (tmp_path / "params.yaml").write_text((ROOT / "pipeline" / "recipes" / "quick.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ddpm(*words: str):
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("name", NEEDY)
def test_a_missing_input_is_named_with_the_command_that_makes_it(folder, name):
    result = ddpm("figure", name)
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "`python -m ddpm " in line
    assert not list(folder.rglob("*.png"))
    assert not list(folder.rglob("*.webp"))


def test_a_format_is_refused_before_the_inputs_are_looked_for(folder):
    result = ddpm("figure", "forward", "--out", "a.jpg")
    assert result.exit_code == 1
    assert "a.jpg: the figure forward goes into .png, got .jpg" in result.stderr


def test_an_unknown_figure_and_an_unknown_option(folder):
    assert "No such command 'forwards'" in ddpm("figure", "forwards").output
    assert "No such option '--tmes'" in ddpm("figure", "forward", "--tmes", "3").output


def test_a_picture_is_drawn_where_it_is_wanted_and_says_how_it_was_made(folder, material):
    places = material().places
    places.checkpoint.rename("ema.safetensors")
    given = ("--checkpoint", "ema.safetensors", "--data", str(places.data), "-S", "sample.steps=10")
    result = ddpm("figure", "forward", *given, "--times", "0,20", "--out", "new/place.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"new/place.png: {FIGURES['forward']}\n"
    about = read_about(folder / "new" / "place.png")
    assert json.loads(about["ddpm.figure"])["options"] == {"times": [0, 20]}
    assert json.loads(about["ddpm.figures"])["strip_images"] == 6
    assert json.loads(about["ddpm.schedule"])["T"] == 20
    assert about["ddpm.weights"] == "step 7, average none"
    again = ddpm("figure", "forward", *given, "--times", "21", "--out", "b.png")
    assert again.exit_code == 1
    assert "--times must be at most T = 20, got 21" in again.stderr
