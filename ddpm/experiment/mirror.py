"""Writing to one MLflow run: numbers, curves, pictures, files and the data set, in as few calls as possible.

Numbers are called `<stage>/<path>`, curves `<stage>_curve/<column>`, so that a final number never becomes a point of
a curve. Everything here may raise what MLflow raises; `ddpm.experiment.tracking` decides what that costs.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm.experiment.results import numeric_leaves
from ddpm.experiment.stages import MANIFEST

_BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # what MLflow takes in one call


class Mirror:
    """An MLflow run to write to.

    Args:
        attached: the run was there before this process, so the store may already hold points of a curve.
    """

    def __init__(self, client: Any, experiment: str, run_id: str, attached: bool):
        self.client, self.experiment, self.run_id, self._attached = client, experiment, run_id, attached
        self._steps: dict[str, set[int]] = {}  # metric or picture -> steps that are in the store

    def tags(self) -> dict[str, str]:
        """The tags as they are in the store now."""
        return dict(self.client.get_run(self.run_id).data.tags)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in one call per hundred."""
        from mlflow.entities import RunTag

        self._batch("tags", [RunTag(key, value) for key, value in tags.items()])

    def set_params(self, leaves: Mapping[str, Any]) -> None:
        """Log flattened parameters; texts as they are, everything else as JSON."""
        from mlflow.entities import Param

        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in leaves.items()}
        self._batch("params", [Param(key, value) for key, value in texts.items()])

    def log_numbers(self, prefix: str, numbers: Mapping[str, Any]) -> None:
        """Log the numeric leaves of nested results as `<prefix>/<path>`."""
        from mlflow.entities import Metric

        now, leaves = _now(), numeric_leaves(numbers)
        self._batch("metrics", [Metric(_metric_name(prefix, key), value, now, 0) for key, value in leaves.items()])

    def log_points(self, stage: str, rows: Iterable[Mapping[str, float]]) -> None:
        """Log the points of a curve that the store does not hold yet, one series per column except `step`."""
        from mlflow.entities import Metric

        now, new = _now(), {}
        for row in rows:
            step = int(row["step"])
            for column, value in row.items():
                key = _metric_name(f"{stage}_curve", column)
                if column != "step" and step not in self._known_steps(key):
                    new[key, step] = Metric(key, float(value), now, step)
        points = list(new.values())
        for start in range(0, len(points), _BATCH["metrics"]):
            part = points[start : start + _BATCH["metrics"]]
            self._batch("metrics", part)
            for point in part:  # only now: what failed is tried again by the next call
                self._steps[point.key].add(point.step)

    def log_image(self, stage: str, path: Path, name: str, step: int) -> None:
        """Show a picture at a step of the run as `<stage>_<name>`, unless the store holds one for that step."""
        from PIL import Image

        key = f"{stage}_{name}"
        if step not in self._known_steps_of_image(key):
            with Image.open(path) as picture:
                self.client.log_image(self.run_id, picture, key=key, step=step)
            self._steps[key].add(step)

    def log_files(self, paths: Iterable[Path]) -> None:
        """Copy files and folders to their places relative to the current folder; by name when they lie elsewhere."""
        here = Path.cwd()
        for path in (path.resolve() for path in paths):
            place = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
            if path.is_dir():
                self.client.log_artifacts(self.run_id, str(path), place.as_posix())
            else:
                folder = "" if place.parent == Path() else place.parent.as_posix()
                self.client.log_artifact(self.run_id, str(path), folder or None)

    def log_dataset(self) -> None:
        """Name the prepared images as the data set, once; its digest is that of the manifest, which lists theirs."""
        tags = self.tags()
        if "dataset" in tags or not MANIFEST.is_file():
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:32]  # MLflow takes up to 36 characters
        source = json.dumps({"uri": MANIFEST.parent.as_posix()})
        data = Dataset(tags.get("data_source", "data"), digest, source_type="local", source=source)
        self.client.log_inputs(self.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])])
        self.set_tags({"dataset": digest})

    def set_status(self, status: str) -> None:
        """Set what the UI shows: RUNNING, or an end (FINISHED, FAILED, KILLED) with its time."""
        if status == "RUNNING":
            self.client.update_run(self.run_id, status=status)
        else:
            self.client.set_terminated(self.run_id, status)

    def _batch(self, kind: str, items: Sequence[Any]) -> None:
        # One call per metric is 200 times slower than this.
        for start in range(0, len(items), _BATCH[kind]):
            self.client.log_batch(self.run_id, **{kind: items[start : start + _BATCH[kind]]})

    def _known_steps(self, key: str) -> set[int]:
        if key not in self._steps:
            history = self.client.get_metric_history(self.run_id, key) if self._attached else []
            self._steps[key] = {point.step for point in history}
        return self._steps[key]

    def _known_steps_of_image(self, key: str) -> set[int]:
        if key not in self._steps:
            files = self.client.list_artifacts(self.run_id, "images") if self._attached else []
            named = re.compile(rf"images/{re.escape(key)}[+%]step[+%](\d+)[+%]")  # + or, in older versions of MLflow, %
            self._steps[key] = {int(found[1]) for file in files if (found := named.match(file.path))}
        return self._steps[key]


def newest(client: Any, experiment: str, query: str) -> Any:
    """The run that matches the query and started last, or None."""
    runs = client.search_runs([experiment], query, order_by=["attributes.start_time DESC"], max_results=1)
    return runs[0] if runs else None


def _metric_name(prefix: str, key: str) -> str:
    return re.sub(r"[^\w./ -]", "_", f"{prefix}/{key}")  # the characters MLflow allows


def _now() -> int:
    return int(time.time() * 1000)
