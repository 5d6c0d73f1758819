"""The table of figures: every one of them is complete, says what it shows, and gives the same bytes again."""

import json
import pkgutil
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import click
import numpy as np
import pytest
import torch

import ddpm.figures
from ddpm.cli.figure import make_command
from ddpm.drawing.animation import Animation, read_animation_about
from ddpm.drawing.png import read_about
from ddpm.experiment.params import FigureName
from ddpm.experiment.params_file import load as load_params
from ddpm.figures import FIGURES
from ddpm.figures.figure import describe, load, require_format, save
from ddpm.figures.stage import draw_figures, drawable

RECIPES = sorted((Path(__file__).parents[2] / "pipeline" / "recipes").glob("*.yaml"))
CHEAP: dict[str, dict[str, object]] = {
    "loss-by-time": {"bins": 3, "images": 4},
    "metric-by-steps": {"samplers": "ddpm,heun", "steps": (2, 4), "images": 8},
    "normal-map": {"steps": 25},
    "pixel-densities": {"images": 20, "frames": 4},
    "toy": {"training_steps": 3, "sampling_steps": 8},
}
"""Figure -> options with which it is drawn here, where its own take long or do not fit the tiny checkpoint."""
each_figure = pytest.mark.parametrize("name", list(FIGURES))


def test_the_table_holds_every_figure_and_the_parameters_know_them_all():
    modules = [module.name for module in pkgutil.iter_modules(ddpm.figures.__path__)]
    found = {name for name in modules if hasattr(import_module(f"ddpm.figures.{name}"), "FIGURE")}
    assert found == {name.replace("-", "_") for name in FIGURES}
    assert set(get_args(FigureName)) == set(FIGURES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_figures_that_exist_once(recipe):
    names = load_params(recipe, []).figures.names
    assert set(names) <= set(FIGURES)
    assert len(set(names)) == len(names)


@each_figure
def test_title_and_caption_are_sentences(name):
    assert re.fullmatch(r"[A-Z][^.]*\.", FIGURES[name])
    assert 40 < len(load(name).caption) < 600
    for sentence in re.split(r"(?<=\.) (?=[A-Z])", load(name).caption):
        assert re.fullmatch(r"[A-Z\d].*\.", sentence), sentence


@each_figure
def test_needs_are_opened_by_the_material_and_read_by_an_option(name):
    flags = {option for parameter in make_command(name).params for option in parameter.opts}
    for need in load(name).needs:
        assert need in ("checkpoint", "sample", "train", "held_out", "samples", "curve", "metrics", "statistics")
        assert {"train": "--data", "held_out": "--data", "sample": "--params"}.get(need, f"--{need}") in flags


@each_figure
def test_no_option_has_the_name_of_another(name):
    flags = [flag for parameter in make_command(name).params for flag in (*parameter.opts, *parameter.secondary_opts)]
    assert len(set(flags)) == len(flags)
    names = [parameter.name for parameter in make_command(name).params]
    assert len(set(names)) == len(names)


@each_figure
def test_the_help_has_an_example_that_can_be_called(name):
    command = make_command(name)
    _, _, example = (command.help or "").partition("\b\nExample:\n")
    lines = [line.strip() for line in example.splitlines() if line.strip()]
    assert lines, "no example after \\b"
    for line in lines:
        words = shlex.split(line)
        assert words[:5] == ["python", "-m", "ddpm", "figure", name]
        given = command.make_context(name, words[5:]).params
        load_params(RECIPES[-1].with_name("quick.yaml"), given["overrides"])
        for out in given["outs"]:
            require_format(name, load(name), out)


@each_figure
def test_the_command_line_has_the_defaults_of_the_stage(name):
    given, options = make_command(name).make_context(name, []).params, load(name).options()
    assert {key: given[key] for key in vars(options)} == vars(options)
    assert all(parameter.help for parameter in make_command(name).params if isinstance(parameter, click.Option))


def test_the_overview_loads_neither_torch_nor_matplotlib():
    code = "import sys; from ddpm.__main__ import main; main(['figure', '--help'], standalone_mode=False); "
    code += "print(sorted({'torch', 'matplotlib', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in FIGURES:
        assert f"  {name} " in done.stdout


@each_figure
def test_the_same_material_gives_the_same_bytes_and_says_how(name, material, tmp_path):
    figure = load(name)
    options = figure.options(**CHEAP.get(name, {}))
    suffixes = (".png", ".webp") if figure.moving else (".png",)
    written = []
    for attempt in range(2):
        given = material()
        torch.manual_seed(attempt)
        np.random.seed(attempt)  # noqa: NPY002  (what must not matter)
        picture = figure.draw(given, options)
        assert isinstance(picture, Animation) == figure.moving
        paths = [tmp_path / f"{attempt}{suffix}" for suffix in suffixes]
        for path in paths:
            save(picture, path, describe(name, figure, given, options))
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    about = [read_about(path) if path.suffix == ".png" else read_animation_about(path) for path in paths]
    itself = json.loads(about[0]["ddpm.figure"])
    assert itself["caption"] == figure.caption
    assert (itself["name"], itself["title"]) == (name, FIGURES[name])
    assert set(itself["options"]) == set(vars(options))
    assert json.loads(about[0]["ddpm.figures"])["zoom"] == 4
    assert ("ddpm.model" in about[0]) == ("checkpoint" in figure.needs)
    assert all(one == about[0] for one in about)


def test_formats():
    still, moving = load("forward"), next((load(name) for name in FIGURES if load(name).moving), None)
    require_format("forward", still, Path("a/forward.png"))
    with pytest.raises(ValueError, match=r"a\.gif: the figure forward goes into \.png, got \.gif"):
        require_format("forward", still, Path("a.gif"))
    with pytest.raises(ValueError, match=r"a: the figure forward goes into \.png, got no suffix"):
        require_format("forward", still, Path("a"))
    if moving is not None:
        for suffix in (".png", ".webp", ".gif", ".mp4", ".webm"):
            require_format("one", moving, Path(f"a{suffix}"))
        with pytest.raises(ValueError, match=r"goes into \.png, \.webp, \.gif, \.mp4, \.webm, got \.jpg"):
            require_format("one", moving, Path("a.jpg"))


def test_an_unknown_figure():
    with pytest.raises(ValueError, match=r"figure must be one of samples, comparison, .*, got sample"):
        load("sample")


def test_the_stage_draws_what_is_named_and_nothing_when_something_is_missing(material, tmp_path):
    given, ticks = material("figures.names=[schedule, samples]"), []
    paths = draw_figures(given, drawable(given), tmp_path / "out", ticks.append)
    assert [path.name for path in paths] == ["schedule.png", "samples.png"]
    assert ticks == [1, 1]
    given = material("figures.names=[schedule, samples]")
    given.places.samples.unlink()
    with pytest.raises(ValueError, match=r"samples: no such samples; `python -m ddpm sample` makes them"):
        draw_figures(given, drawable(given), tmp_path / "again", ticks.append)
    assert not (tmp_path / "again").exists()
