"""ddpm train: prepared images -> EMA weights and the training curve."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.engine.state import Progress


@click.command()
@stage.params_options
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--out", stage.WEIGHTS, "Where the EMA weights go (safetensors that explain themselves).")
@stage.results_option("train.csv and train.json")
@stage.device_option
def train(
    params_path: Path, overrides: tuple[str, ...], data: Path, out: Path, results: Path | None, device: str
) -> None:
    """Train the U-Net; a killed run goes on where its last state in work/ was written.

    \b
    Example:
      python -m ddpm train -S train.steps=100 --out work/short/ema.safetensors
    """
    params = stage.load_params(params_path, overrides)
    folder = stage.results_folder(results, out, stage.WEIGHTS)

    from ddpm.data.store import open_split
    from ddpm.engine import train as engine
    from ddpm.engine.checkpoint import save_checkpoint
    from ddpm.engine.device import pick_device, require_precision
    from ddpm.experiment.workspace import require_writable, write_bytes, write_json

    place = pick_device(device)
    require_precision(params.train.precision, place)
    splits = open_split(data, "train"), open_split(data, "valid")
    engine.require_data(params, data, *splits)
    curve, numbers = folder / "train.csv", folder / "train.json"
    for target in (out, curve):
        require_writable(target)
    inputs = [data / name for name in ("train.npy", "train_labels.npy", "valid.npy", "valid_labels.npy")]
    standard = stage.is_standard(data=(data, stage.PREPARED), out=(out, stage.WEIGHTS), f=(folder, stage.RESULTS))
    with (
        stage.work("train", params, inputs, place.type) as work,
        stage.recorded("train", params, place.type, standard) as recorder,
        stage.progress("train", params.train.steps * params.train.batch, "images") as bar,
    ):
        trained = engine.train(params, *splits, work, place, report=_reporter(bar, params.train.batch, recorder.run))
        save_checkpoint(out, trained.checkpoint)
        write_bytes(curve, engine.curve_csv(trained.rows))
        write_json(numbers, trained.numbers)
        recorder.log_curve(trained.rows)
        recorder.numbers, recorder.artifacts = trained.numbers, [curve, numbers]
    last = trained.numbers
    held_out = f", held-out loss {last['valid_loss']:.4f}" if "valid_loss" in last else ""
    click.echo(f"{out}: step {last['step']:,}, loss {last['loss']:.4f}{held_out}. Next: python -m ddpm sample")


def _reporter(bar: Any, batch: int, run: Any) -> Any:
    """Move the bar each step, show each new row, and mirror new rows once in a while."""
    import sys
    import time

    mirrored = time.monotonic()
    shown = 0

    def report(progress: "Progress") -> None:
        nonlocal mirrored, shown
        if len(progress.rows) > shown:
            shown = len(progress.rows)
            bar.set_postfix(loss=f"{progress.rows[-1]['loss']:.4f}", refresh=False)
            if run is not None and time.monotonic() - mirrored > 30:
                run.log_curve(progress.rows)
                mirrored = time.monotonic()
        if bar.n == 0 and progress.step > 1:
            bar.write(f"train: continuing after step {progress.step - 1}, whose state was in work/", file=sys.stderr)
            bar.initial = bar.n = (progress.step - 1) * batch
        bar.update(batch)

    return report
