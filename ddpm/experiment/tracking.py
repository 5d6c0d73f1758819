"""Mirror the stages of one configuration into one flat MLflow run.

The files are the truth and MLflow is a mirror (contract 5): deleting the store loses nothing, and a store that fails
costs one warning line, never a training. `DDPM_TRACKING=off` switches the mirror off.

Tags: `run_key`; `stage.<name>` = running | finished | failed | cached; `stage.<name>.fingerprint`, `.device`, `.error`
and `.run_id` (the run that made what DVC took from its cache); `stages_done`; `reproduce`; tags of git, DVC, versions
and hardware. Between two stages a run is FINISHED, or FAILED when one of its stages failed.
"""

import os
import shlex
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddpm.experiment.fingerprint import run_key, static_fingerprints
from ddpm.experiment.mirror import Mirror, newest
from ddpm.experiment.provenance import Provenance, flatten, provenance, reproduce_command
from ddpm.experiment.results import read_curve, read_numbers
from ddpm.experiment.stages import STAGES, ancestors
from ddpm.experiment.store import mirrored, one_line, opened, tracking_uri

DONE = ("finished", "cached")
_PATCH = "provenance/uncommitted.patch"


class StageRun:
    """What a stage sees of its MLflow run; every method does nothing when tracking is off or the store did not open."""

    def __init__(self, stage: str):
        self.stage = stage
        self.mirror: Mirror | None = None

    def log_curve(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Add the points of rows such as {"step": 10, "loss": 0.3}; points already there are left out.

        So a caller may pass all rows so far every time, also after a resume, and what one failing call could not
        write the next one will.
        """
        if self.mirror:
            with mirrored("logging a curve"):
                self.mirror.log_points(self.stage, rows)

    def log_image(self, path: Path, name: str, step: int) -> None:
        """Show a picture file at a step, in a series called `name`; a step that has one already is left alone."""
        if self.mirror:
            with mirrored("logging a picture"):
                self.mirror.log_image(self.stage, path, name, step)

    def finish(self, numbers: Mapping[str, Any], artifacts: Iterable[Path] = ()) -> None:
        """Log the stage's numbers, nested as in its JSON file, and copy its result files and folders.

        Call it when the files are written; leaving the `with` block marks the stage finished.
        """
        if self.mirror:
            with mirrored("logging results"):
                self.mirror.log_numbers(self.stage, numbers)
                self.mirror.log_files(artifacts)


@contextmanager
def stage_run(stage: str, params: Mapping[str, Any], device: str, root: Path) -> Iterator[StageRun]:
    """Mirror one stage: attach to the newest run of this configuration, or start a new one.

    A run in which the stage is already finished (or was taken from the cache) is left alone: `repro -f` is a new
    attempt. A stage that failed or was killed is continued in its run. Of several processes only the first may call.

    Args:
        params: all sections; code, results and params.yaml are those of the current folder (maybe a DVC snapshot).
        device: type of the stage's device ("cpu", "cuda"): a tag, which does not decide which run it is.
        root: where mlflow.db, mlruns/ and work/ lie.

    Raises:
        ValueError: DDPM_TRACKING is neither on nor off, or dvc.yaml does not fit the stages.
    """
    if (switch := os.environ.get("DDPM_TRACKING", "on")) not in ("on", "off"):
        raise ValueError(f"DDPM_TRACKING must be on or off, got {switch!r}; unset it to track")
    run = StageRun(stage)
    if switch == "on":
        prints = static_fingerprints(params, Path.cwd())
        key = run_key(params, Path.cwd())
        with mirrored("opening the run"):
            run.mirror = _open(stage, params, device, root, key, prints[stage])
        if run.mirror:
            with mirrored("reading back cached stages"):
                _fill_cached(run.mirror, stage, prints)
    start = time.perf_counter()
    try:
        yield run
    except BaseException as error:
        _close(run, time.perf_counter() - start, error)
        raise
    _close(run, time.perf_counter() - start)


def _open(stage: str, params: Mapping[str, Any], device: str, root: Path, key: str, fingerprint: str) -> Mirror:
    with opened(root) as (client, experiment):
        found = newest(client, experiment, f"tags.run_key = '{key}'")
        if found is None or found.data.tags.get(f"stage.{stage}") in DONE:
            mirror = _new_run(client, experiment, params, key)
        else:
            mirror = Mirror(client, experiment, found.info.run_id, attached=True)
        mirror.set_status("RUNNING")
        tags = {"": "running", ".fingerprint": fingerprint, ".device": device}
        mirror.set_tags({f"stage.{stage}{suffix}": value for suffix, value in tags.items()})
    if "reproduce" not in mirror.tags():  # a new run, or one whose first process died early
        _describe(mirror, params)
    return mirror


def _new_run(client: Any, experiment: str, params: Mapping[str, Any], key: str) -> Mirror:
    leaves = flatten(params)
    name = os.environ.get("DVC_EXP_NAME") or _run_name(leaves, key)
    tags = {"run_key": key, "data_source": str(leaves["data.source"])}
    created = client.create_run(experiment, tags=tags, run_name=name)
    return Mirror(client, experiment, created.info.run_id, attached=False)


def _describe(mirror: Mirror, params: Mapping[str, Any]) -> None:
    """Log parameters, origin and the command that makes the run again: once, outside the lock of the store."""
    origin = provenance(Path.cwd())
    patch = f"work/{mirror.run_id}/{Path(_PATCH).name}"
    command = reproduce_command(params, Path.cwd(), _fetch_patch(mirror.run_id), patch)
    mirror.set_params(flatten(params))
    if origin.dirty:
        _log_patch(mirror, origin)
    mirror.set_tags(
        {
            "git.commit": origin.commit,
            "git.branch": origin.branch,
            "git.dirty": str(origin.dirty).lower(),
            "mlflow.source.git.commit": origin.commit,  # the column `Version` of the UI
            "dvc.experiment": origin.experiment,
            "dvc.baseline": origin.baseline,
            "device.name": origin.device_name,
            "device.num_cpus": str(origin.num_cpus),
            **{f"version.{name}": number for name, number in origin.versions.items()},
            "mlflow.note.content": f"```sh\n{command}\n```",  # the description in the UI
            "reproduce": command,
        }
    )


def _fill_cached(mirror: Mirror, stage: str, prints: Mapping[str, str]) -> None:
    """Read back the results of stages above that did not run here, because DVC took them from its cache."""
    tags, here = mirror.tags(), Path.cwd()
    for name in ancestors(stage):
        numbers = STAGES[name].numbers
        if tags.get(f"stage.{name}") in DONE or numbers is None or not (here / numbers).is_file():
            continue
        mirror.log_numbers(name, read_numbers(STAGES[name], here))
        mirror.log_points(name, read_curve(STAGES[name], here))
        query = f"tags.`stage.{name}` = 'finished' and tags.`stage.{name}.fingerprint` = '{prints[name]}'"
        maker = newest(mirror.client, mirror.experiment, query)
        origin = {f"stage.{name}.run_id": maker.info.run_id} if maker else {}
        mirror.set_tags({**origin, f"stage.{name}": "cached", f"stage.{name}.fingerprint": prints[name]})
    if stage != "prepare":  # which is about to write the manifest
        mirror.log_dataset()


def _close(run: StageRun, seconds: float, error: BaseException | None = None) -> None:
    """Tag the stage finished or failed, and give the run the status that the UI shows until the next stage."""
    if run.mirror is None:
        return
    with mirrored("closing the run"):
        mirror, name = run.mirror, f"stage.{run.stage}"
        if error is None:
            mirror.log_numbers("time", {f"{run.stage}_seconds": seconds})  # of the last attempt, after a resume
            mirror.log_dataset()
        tags = mirror.tags() | {name: "failed" if error else "finished"}
        changed = {name: tags[name]}
        if error or f"{name}.error" in tags:
            changed[f"{name}.error"] = one_line(error) if error else ""
        states = [tags.get(f"stage.{other}") for other in STAGES]
        mirror.set_tags({**changed, "stages_done": f"{sum(state in DONE for state in states)} of {len(STAGES)}"})
        ended = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        mirror.set_status(ended if "failed" in states else "FINISHED")


def _fetch_patch(run_id: str) -> str:
    uri = tracking_uri(Path())  # relative: the command is for the main checkout, wherever it will lie
    prefix = "" if "@" in uri else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "  # a password does not belong in a tag
    artifact = f"--run-id {run_id} --artifact-path {_PATCH} --dst-path work/{run_id}"
    return f"{prefix}python -m mlflow artifacts download {artifact}"


def _log_patch(mirror: Mirror, origin: Provenance) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(_PATCH).name
        file.write_bytes(origin.diff.encode(errors="surrogateescape"))
        mirror.client.log_artifact(mirror.run_id, str(file), Path(_PATCH).parent.as_posix())


def _run_name(leaves: Mapping[str, Any], key: str) -> str:
    names = ("data.source", "data.image_size", "schedule.kind", "objective.target", "sample.sampler", "sample.steps")
    return "-".join([*(str(leaves[name]) for name in names), key[:4]])
