"""What one sees of a training while it runs: the bar, the curve in MLflow, and a picture that grows."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpm.engine.distributed import Team
    from ddpm.engine.speed import Meter
    from ddpm.engine.state import Progress
    from ddpm.experiment.params import Params

MIRROR_SECONDS = 30
"""How long new rows of the curve wait before they go to MLflow together."""
ZOOM = 2


class Watch:
    """Called after every step by the first process of a team; the others have nothing to show.

    Args:
        params: for what a step costs.
        bar: of tqdm.
        run: the MLflow run, or None.
        picture: where the previews go, row by row.
    """

    def __init__(self, params: "Params", bar: Any, run: Any, picture: Path, team: "Team") -> None:
        self.params, self.bar, self.run, self.picture, self.team = params, bar, run, picture, team
        self.mirrored, self.shown_rows, self.shown_previews = time.monotonic(), 0, 0
        self.speeds: dict[float, dict[str, float]] = {}
        self.meter: Meter | None = None

    def __call__(self, progress: "Progress") -> None:
        """Show what is new; nothing here waits for the device, for a new row has already waited."""
        if not self.team.first:
            return
        if self.meter is None:
            self._begin(progress)
        if len(progress.rows) > self.shown_rows:
            self._show_row(progress)
        if len(progress.previews) > self.shown_previews:
            self._show_previews(progress)
        self.bar.update(self.params.train.batch)

    def rows(self, rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
        """Rows of the curve with the speed at which they came; a clock belongs in MLflow, not in a result file."""
        return [{**row, **self.speeds.get(row["step"], {})} for row in rows]

    def _begin(self, progress: "Progress") -> None:
        import torch

        from ddpm.engine.build import build_net
        from ddpm.engine.speed import Meter, flop_per_image, measure_peak

        before, device = progress.step - 1, self.team.device
        if before:
            self.bar.write(f"train: continuing after step {before}, whose state was in work/", file=sys.stderr)
            self.bar.initial = self.bar.n = before * self.params.train.batch
            self.shown_previews = len([step for step in progress.previews if step <= before])
        peak = measure_peak(device, self.params.train.precision) * self.team.count
        with torch.device("meta"):
            net = build_net(self.params.data, self.params.model, self.params.objective)
        self.meter = Meter(flop_per_image(net), peak, device, progress.step)

    def _show_row(self, progress: "Progress") -> None:
        self.shown_rows, row = len(progress.rows), progress.rows[-1]
        assert self.meter is not None
        if progress.step > self.meter.step:
            speed = self.meter.read(progress.step, self.params.train.batch)
            self.speeds[row["step"]] = speed
            shown = {"mem": f"{speed['memory_bytes'] / 2**30:.1f}G", "mfu": f"{speed['mfu']:.0%}"}
            self.bar.set_postfix(loss=f"{row['loss']:.4f}", **shown, refresh=False)
        if self.run is not None and time.monotonic() - self.mirrored > MIRROR_SECONDS:
            self.run.log_curve(self.rows(progress.rows))
            self.mirrored = time.monotonic()

    def _show_previews(self, progress: "Progress") -> None:
        from ddpm.drawing.evolution import evolution
        from ddpm.drawing.png import save_png
        from ddpm.experiment.workspace import atomic_path

        self.shown_previews, steps = len(progress.previews), list(progress.previews)
        image = evolution([progress.previews[step] for step in steps], steps, ZOOM)
        with atomic_path(self.picture) as temporary:
            save_png(image, temporary, {})
        if self.run is not None:
            self.run.log_image(self.picture, "preview", progress.step)
