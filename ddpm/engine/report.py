"""What a run was and what came out of it, collected from its files for the page `results/report.html`.

Everything on the page follows from files; what is missing is said in words. Only timings and the environment differ
between two runs of the same bytes, which is why the page is no output of the pipeline (docs/decisions/0027).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.drawing.png import read_about
from ddpm.engine.report_digests import artifact_table, other_parameters, read_lock
from ddpm.engine.report_facts import UNREADABLE, facts, sentence
from ddpm.engine.report_tables import data_tables, metric_table, protocol_table, read_json
from ddpm.experiment import params_file, provenance
from ddpm.experiment.stages import STAGES, ancestors
from ddpm.report.page import Page, Picture, Section, Table

RECIPES = Path("pipeline/recipes")
FIGURES, TIMINGS = Path("results/figures"), Path("work/timings")
FIRST, DATA, CURVES = "samples", ("data", "neighbors"), ("loss", "schedule", "loss-by-time")
"""Figures that stand beside the title, the data and training, not among the others."""


def collect(root: Path, work: Path) -> Page:
    """The page of the experiment in a folder; a part whose files cannot be read says so and is left out.

    Args:
        root: holds params.yaml and results/.
        work: holds work/timings, the root of the main checkout.

    Raises:
        ValueError: there is no params.yaml, or it is not valid.
    """
    params = read_params(root)
    name, differing = nearest_recipe(root, params)
    pictures, damaged = read_pictures(root / FIGURES, params["figures"]["names"])
    of = {picture.name: picture for picture in pictures}
    others = [picture for picture in pictures if picture.name not in (FIRST, *DATA, *CURVES)]
    changed = f", with {len(differing)} {'parameter' if len(differing) == 1 else 'parameters'} changed"
    return Page(
        title=f"{params['data']['name']}: a diffusion experiment",
        lead=f"Recipe {name}{changed if differing else ''}. {sentence(params)}",
        facts=facts(params, root),
        first=of.get(FIRST),
        sections=[
            _told("run", "What was run", partial(_what_was_run, name, differing, params, root)),
            _told("metrics", "Metrics", partial(_metrics, root)),
            _figures(others, damaged, bool(pictures)),
            _told("training", "Training", partial(_training, root, [of[key] for key in CURVES if key in of])),
            _told("data", "Data", partial(_data, root, [of[key] for key in DATA if key in of])),
            _told("digests", "Digests", partial(_digests, root)),
            _told("timings", "Timings", partial(_timings, params, work)),
            _told("environment", "Environment", partial(_environment, root)),
            _told("reproduce", "Make it again", partial(_reproduce, params, root)),
        ],
    )


def _told(anchor: str, title: str, make: Callable[[], Section]) -> Section:
    """A section, or in its place what could not be read."""
    try:
        return make()
    except UNREADABLE as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        text = f"This part is left out: a file is damaged or of another version ({reason})."
        return Section(anchor, title, warnings=[f"{text} `dvc repro` writes it again."])


def read_params(root: Path) -> dict[str, Any]:
    """The parameters of a folder, as they stand there.

    Raises:
        ValueError: there are none, or they are not valid.
    """
    tree = params_file.read(root / "params.yaml")
    params_file.validate(tree)
    return tree


def nearest_recipe(root: Path, params: Mapping[str, Any]) -> tuple[str, list[tuple[str, str, str]]]:
    """The recipe that differs in the fewest parameters, and (parameter, recipe, here) of those."""
    mine, best = provenance.flatten(params), ("none", [(key, "", "") for key in provenance.flatten(params)])
    for path in sorted((root / RECIPES).glob("*.yaml")):
        theirs = provenance.flatten(YAML(typ="safe", pure=True).load(path.read_text()))
        keys = [key for key in {**theirs, **mine} if theirs.get(key) != mine.get(key)]
        rows = [(key, str(theirs.get(key, "-")), str(mine.get(key, "-"))) for key in keys]
        if len(rows) < len(best[1]):
            best = path.stem, rows
    return best


def read_pictures(folder: Path, order: Sequence[str]) -> tuple[list[Picture], list[str]]:
    """The figures of a folder, and the files that are none; in an order of names, others after them."""
    places = {name: place for place, name in enumerate(order)}
    pictures, damaged = [], []
    for path in sorted(folder.glob("*.png"), key=lambda path: (places.get(path.stem, len(places)), path.stem)):
        try:
            pictures.append(read_picture(path))
        except UNREADABLE:
            damaged.append(path.name)
    return pictures, damaged


def read_picture(path: Path) -> Picture:
    """One figure with what its file says of itself; an animation is a WebP beside its still."""
    from PIL import Image

    about = read_about(path)
    itself = json.loads(about.pop("ddpm.figure", "{}"))
    with Image.open(path) as image:
        size = image.size
    moving = path.with_suffix(".webp")
    if options := itself.get("options"):
        about = {"options": json.dumps(options), **about}
    return Picture(
        name=path.stem,
        title=itself.get("title", f"{path.stem}."),
        caption=itself.get("caption", ""),
        png=path.read_bytes(),
        size=size,
        webp=moving.read_bytes() if moving.is_file() else b"",
        about={"file": path.name, **about},
    )


def read_timings(params: Mapping[str, Any], work: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(stage, record) of the stages whose last run here had these parameters, those of the stages above included."""
    for stage in STAGES:
        record = read_json(work / TIMINGS / f"{stage}.json")
        sections = {section for name in (*ancestors(stage), stage) for section in STAGES[name].sections}
        if record and all(_flat(record["params"], name) == _flat(params, name) for name in sections):
            yield stage, record


def _flat(tree: Mapping[str, Any], section: str) -> dict[str, Any]:
    return provenance.flatten({section: tree.get(section)})


def _what_was_run(
    name: str, differing: Sequence[tuple[str, str, str]], params: Mapping[str, Any], root: Path
) -> Section:
    tables = [Table(f"Parameters that differ from {name}", ("parameter", name, "here"), differing)] if differing else []
    leaves = provenance.flatten(params).items()
    tables.append(
        Table("All parameters", ("parameter", "is"), [(key, str(value)) for key, value in leaves], folded=True)
    )
    note = f"The nearest recipe is {name}. All other parameters are as it says."
    if not differing:
        note = f"params.yaml is the recipe {name}, parameter by parameter."
    warnings = []
    if changed := other_parameters(read_lock(root), params):
        warnings.append(
            f"dvc.lock records results of other parameters: {'; '.join(changed)}. What this page shows may be of "
            "those; `dvc repro` makes it anew."
        )
    return Section("run", "What was run", [note], warnings, tables=tables)


def _metrics(root: Path) -> Section:
    metrics = read_json(root / "results/metrics.json")
    if not metrics:
        return Section("metrics", "Metrics", ["Nothing was measured yet: `python -m ddpm evaluate` does."])
    grades = {record["grade"] for record in metrics.values()}
    warnings = ["With so few images these numbers only show that nothing is broken."] if "smoke only" in grades else []
    foreign = not any(name.startswith("fid") for name in metrics)
    notes = ["No number here is an FID: it was not measured in the features of the FID network."] if foreign else []
    tables = [metric_table(metrics), protocol_table(metrics)]
    return Section("metrics", "Metrics", notes, warnings, tables=tables)


def _figures(pictures: Sequence[Picture], damaged: Sequence[str], any_drawn: bool) -> Section:
    notes = () if any_drawn else ("No figures yet: `python -m ddpm figures` draws them.",)
    warnings = [f"Left out, because they are no whole pictures: {', '.join(damaged)}."] if damaged else []
    return Section("figures", "Figures", notes, warnings, pictures=pictures)


def _training(root: Path, pictures: Sequence[Picture]) -> Section:
    previews = root / "results/previews/evolution.png"
    shown = list(pictures)
    if previews.is_file():
        picture = read_picture(previews)
        caption = "The same noise, drawn again and again while the net learned; a row is a step of training."
        shown.append(Picture("evolution", "Previews during training.", caption, picture.png, picture.size))
    return Section("training", "Training", () if shown else ("Not trained yet, or elsewhere.",), pictures=shown)


def _data(root: Path, pictures: Sequence[Picture]) -> Section:
    manifest = read_json(root / "results/prepare.json")
    if not manifest:
        return Section("data", "Data", ["Not prepared yet: `python -m ddpm prepare` does."], pictures=pictures)
    return Section("data", "Data", tables=data_tables(manifest), pictures=pictures)


def _digests(root: Path) -> Section:
    note = "sha256sum and md5sum print the same; dvc.lock finds a file by its md5."
    return Section("digests", "Digests", [note], tables=[artifact_table(root, read_lock(root))])


def _timings(params: Mapping[str, Any], work: Path) -> Section:
    rows = [(name, f"{each['seconds']:.1f}", each["device"]) for name, each in read_timings(params, work)]
    missing = [name for name in STAGES if name not in {row[0] for row in rows}]
    notes = ["How long each stage took when it last ran here with these parameters."]
    if missing:
        notes.append(f"Not run here with these parameters, or taken from the cache: {', '.join(missing)}.")
    tables = [Table("Seconds of each stage", ("stage", "seconds", "device"), rows, numbers=True)] if rows else []
    return Section("timings", "Timings", notes, tables=tables)


def _environment(root: Path) -> Section:
    origin = provenance.provenance(root)
    state = " with uncommitted changes" if origin.dirty else ""
    rows = [
        ("processor or GPU", origin.device_name),
        ("cores", str(origin.num_cpus)),
        ("commit", f"{origin.commit or 'not a git checkout'}{state}"),
        *((package, version) for package, version in origin.versions.items()),
    ]
    note = "The machine that wrote this page; the stages may have run elsewhere."
    return Section("environment", "Environment", [note], tables=[Table("Machine and versions", ("what", "here"), rows)])


def _reproduce(params: Mapping[str, Any], root: Path) -> Section:
    command = provenance.reproduce_command(params, root)
    if command.startswith("git stash"):
        notes = [
            "This makes the run again, whatever the checkout holds by then; it puts uncommitted changes aside first "
            "(`git stash pop` brings them back)."
        ]
    else:
        notes = [
            "There is no commit to start from, so all parameters stand in the command; the code must be that of now."
        ]
    if "uncommitted.patch" in command:
        notes.append(
            "The code was not committed: `git add` new files and keep what `git diff HEAD > uncommitted.patch` writes "
            "beside this page."
        )
    return Section("reproduce", "Make it again", notes, command=command)
