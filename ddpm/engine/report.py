"""What a run was and what came out of it, collected from its files for the page `results/report.html`.

Everything on the page follows from files; what is missing is said in words. Only timings and the environment differ
between two runs of the same bytes, which is why the page is no output of the pipeline (docs/decisions/0027).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ddpm.drawing.png import read_about
from ddpm.engine.report_tables import artifact_table, data_tables, metric_table, number
from ddpm.experiment import provenance
from ddpm.experiment.stages import STAGES
from ddpm.report.page import Page, Picture, Section, Table

RECIPES = Path("pipeline/recipes")
FIGURES, TIMINGS = Path("results/figures"), Path("work/timings")
DATA, CURVES = ("data", "neighbors"), ("loss", "schedule", "loss-by-time")
"""Figures that stand beside the data and beside training, not among the others."""


def collect(root: Path, work: Path) -> Page:
    """The page of the experiment in a folder.

    Args:
        root: holds params.yaml and results/.
        work: holds work/timings, the root of the main checkout.

    Raises:
        ValueError: there is no params.yaml.
    """
    params = read_params(root)
    name, differing = nearest_recipe(root, params)
    metrics = _json(root / "results/metrics.json")
    pictures = read_pictures(root / FIGURES, params["figures"].get("names", []))
    changed = f", with {len(differing)} parameters changed" if differing else ""
    return Page(
        title=f"{params['data']['name']}: a diffusion experiment",
        lead=f"Recipe {name}{changed}. {_sentence(params)}",
        facts=_facts(params, metrics, root),
        sections=[
            _what_was_run(name, differing),
            _metrics(metrics),
            Section(
                "figures",
                "Figures",
                () if pictures else ("No figures yet: `python -m ddpm figures` draws them.",),
                pictures=[p for p in pictures if p.name not in (*DATA, *CURVES)],
            ),
            _training(root, [p for p in pictures if p.name in CURVES]),
            _data(root, [p for p in pictures if p.name in DATA]),
            Section("digests", "Digests", tables=[artifact_table(root)]),
            _timings(params, work),
            _environment(root),
            _reproduce(params, root),
        ],
    )


def read_params(root: Path) -> dict[str, Any]:
    """The parameters of a folder, as they stand there.

    Raises:
        ValueError: there are none.
    """
    path = root / "params.yaml"
    if not path.is_file():
        raise ValueError(f"{path}: no parameters here; change to the root of the project")
    params: dict[str, Any] = _yaml(path)
    return params


def nearest_recipe(root: Path, params: Mapping[str, Any]) -> tuple[str, list[tuple[str, str, str]]]:
    """The recipe that differs in the fewest parameters, and (parameter, recipe, here) of those."""
    mine, best = provenance.flatten(params), ("none", [(key, "", "") for key in provenance.flatten(params)])
    for path in sorted((root / RECIPES).glob("*.yaml")):
        theirs = provenance.flatten(_yaml(path))
        keys = [key for key in {**theirs, **mine} if theirs.get(key) != mine.get(key)]
        rows = [(key, str(theirs.get(key, "-")), str(mine.get(key, "-"))) for key in keys]
        if len(rows) < len(best[1]):
            best = path.stem, rows
    return best


def read_pictures(folder: Path, order: Sequence[str]) -> list[Picture]:
    """The figures of a folder, in an order of names, others after them; an animation is a WebP beside its still."""
    places = {name: place for place, name in enumerate(order)}
    found = sorted(folder.glob("*.png"), key=lambda path: (places.get(path.stem, len(places)), path.stem))
    return [read_picture(path) for path in found]


def read_picture(path: Path) -> Picture:
    """One figure with what its file says of itself."""
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
    """(stage, record) of the stages whose last run here had these parameters."""
    for stage in STAGES.values():
        record = _json(work / TIMINGS / f"{stage.name}.json")
        if record and record["params"] == {name: params.get(name) for name in stage.sections}:
            yield stage.name, record


def _sentence(params: Mapping[str, Any]) -> str:
    data, model, sample = params["data"], params["model"], params["sample"]
    width = data["image_width"] or data["image_size"]
    channels = "gray" if data["channels"] == 1 else "RGB"
    return (
        f"A U-Net of {model['channels']} channels and {len(model['multipliers'])} levels "
        f"that predicts {params['objective']['target']}, on {channels} images of {data['image_size']}x{width}; "
        f"{sample['num_images']:,} samples by {sample['sampler']} in {sample['steps']} steps."
    )


def _facts(params: Mapping[str, Any], metrics: Mapping[str, Any], root: Path) -> list[tuple[str, str, str]]:
    facts = []
    for name, record in metrics.items():
        if name.startswith(("fid", "frechet")) and "_floor" not in name:
            interval = record.get("interval")
            remark = f"95 %: {number(interval['low'])} to {number(interval['high'])}" if interval else record["grade"]
            facts.append((name, number(record["value"]), remark))
    trained = _json(root / "results/train.json")
    if trained:
        facts.append(("training steps", f"{trained['step']:,}", f"batch {params['train']['batch']}"))
        if (loss := trained.get("valid_loss")) is not None:
            facts.append(("held-out loss", number(loss), "mean squared error per pixel, averaged weights"))
    sampled = _json(root / "results/sample.json")
    if sampled:
        facts.append(("network evaluations", f"{sampled['nfe']:g}", "per sample"))
    return facts


def _what_was_run(name: str, differing: Sequence[tuple[str, str, str]]) -> Section:
    if not differing:
        return Section("run", "What was run", [f"params.yaml is the recipe {name}, parameter by parameter."])
    table = Table(f"Parameters that differ from {name}", ("parameter", name, "here"), differing)
    return Section(
        "run", "What was run", [f"The nearest recipe is {name}. All other parameters are as it says."], tables=[table]
    )


def _metrics(metrics: Mapping[str, Any]) -> Section:
    if not metrics:
        return Section("metrics", "Metrics", ["Nothing was measured yet: `python -m ddpm evaluate` does."])
    smoke = [record["name"] for record in metrics.values() if record.get("grade") == "smoke only"]
    warnings = (
        ["With so few images these numbers only show that nothing is broken: " + ", ".join(smoke) + "."]
        if smoke
        else []
    )
    foreign = not any(name.startswith("fid") for name in metrics)
    notes = ["No number here is an FID: it was not measured in the features of the FID network."] if foreign else []
    return Section("metrics", "Metrics", notes, warnings, tables=[metric_table(metrics)])


def _training(root: Path, pictures: Sequence[Picture]) -> Section:
    previews = root / "results/previews/evolution.png"
    shown = list(pictures)
    if previews.is_file():
        picture = read_picture(previews)
        caption = "The same noise, drawn again and again while the net learned; a row is a step of training."
        shown.append(Picture("evolution", "Previews during training.", caption, picture.png, picture.size))
    return Section("training", "Training", () if shown else ("Not trained yet, or elsewhere.",), pictures=shown)


def _data(root: Path, pictures: Sequence[Picture]) -> Section:
    manifest = _json(root / "results/prepare.json")
    if not manifest:
        return Section("data", "Data", ["Not prepared yet: `python -m ddpm prepare` does."], pictures=pictures)
    return Section("data", "Data", tables=data_tables(manifest), pictures=pictures)


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
    notes = [
        "This makes the run again, whatever the checkout holds by then; it puts uncommitted changes aside first "
        "(git stash pop brings them back)."
    ]
    command = provenance.reproduce_command(params, root)
    if "uncommitted.patch" in command:
        notes.append("The code was not committed: keep `git diff HEAD > uncommitted.patch` with this page.")
    return Section("reproduce", "Make it again", notes, command=command)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is not there."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())
