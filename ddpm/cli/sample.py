"""ddpm sample: weights -> one uint8 array of images."""

import re
import time
from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.params_options
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights to sample from; they know their net and schedule.")
@stage.path_option("--out", stage.SAMPLES, "Folder for images.npy, labels.npy and manifest.json.")
@click.option("--range", "part", metavar="A:B", help="Draw the images A..B-1 only; `samples merge` joins such parts.")
@stage.results_option("sample.json")
@stage.devices_option
@stage.device_option
def sample(
    params_path: Path,
    overrides: tuple[str, ...],
    checkpoint: Path,
    out: Path,
    part: str | None,
    results: Path | None,
    devices: str,
    device: str,
) -> None:
    """Draw sample.num_images images; image i depends on (weights, sampler, seed, i) only.

    On CPUs that are alike this holds to the last bit, for any batch, range and number of processes. On GPUs the batch
    may move last bits: give all parts the same one.

    \b
    Example:
      python -m ddpm sample -S sample.steps=20 -S sample.num_images=100 --out work/twenty_steps
    Example, on two machines that need not know each other, and then on one:
      python -m ddpm sample --range 0:250 --out work/part_0
      python -m ddpm sample --range 250:500 --out work/part_1
      python -m ddpm samples merge work/part_0 work/part_1 --out work/whole
    """
    params = stage.load_params(params_path, overrides)
    chosen = _range(part, params.sample.num_images, out)
    if stage.spread(devices, device):
        return
    folder = stage.results_folder(results, out, stage.SAMPLES)

    from ddpm.engine import sample as engine
    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.distributed import join
    from ddpm.engine.sample_manifest import IMAGES, LABELS, MANIFEST, NUMBERS, describe
    from ddpm.experiment.workspace import copy_file, require_writable, write_json

    standard = stage.is_standard(c=(checkpoint, stage.WEIGHTS), out=(out, stage.SAMPLES), f=(folder, stage.RESULTS))
    first, last = chosen or (0, params.sample.num_images)
    with join(device) as team:
        loaded = load_checkpoint(checkpoint)
        engine.require_settings(loaded, params.sample, team.device)
        for target in (out / IMAGES, folder / "sample.json"):
            require_writable(target)
        with (
            stage.work("sample", params, [checkpoint], team, part or "") as work,
            stage.recorded("sample", params, team, standard) as recorder,
            stage.progress("sample", last - first, "images", team.first) as bar,
        ):
            started = time.monotonic()
            drawn = engine.sample_images(loaded, params.sample, work, team, bar.update, chosen)
            seconds = time.monotonic() - started
            if team.first:
                copy_file(drawn.path, out / IMAGES)
                engine.save_labels(out / LABELS, loaded, first, last)
                manifest = describe(loaded, params.sample, checkpoint, out, drawn.evaluations, chosen)
                recorder.numbers = {key: manifest[key] for key in NUMBERS}
                recorder.artifacts = [folder / "sample.json"]
                write_json(folder / "sample.json", recorder.numbers)
                write_json(out / MANIFEST, manifest)
        if team.first:
            rates = f"{drawn.new_images / seconds:.1f} images/s, {drawn.new_evaluations / seconds:.0f}"
            click.echo(f"sample: {drawn.new_images:,} images, {rates} network evaluations/s", err=True)
    if team.first:
        way_on = "evaluate" if chosen is None else "samples merge, with the other parts"
        click.echo(f"{out}: {last - first:,} images in images.npy. Next: python -m ddpm {way_on}")


def _range(part: str | None, num_images: int, out: Path) -> tuple[int, int] | None:
    """The images that --range asks for, (first, last + 1); None: all of them.

    Raises:
        ValueError: not A:B with 0 <= A < B <= sample.num_images, or a part is to lie in the place of the whole.
    """
    if part is None:
        return None
    numbers = re.fullmatch(r"(\d+):(\d+)", part, re.ASCII)
    first, last = (int(number) for number in numbers.groups()) if numbers else (0, 0)
    if not first < last <= num_images:
        raise ValueError(
            f"--range must be A:B with 0 <= A < B <= sample.num_images = {num_images}, got {part}; "
            "it draws the images A..B-1"
        )
    if out.resolve() == stage.SAMPLES.resolve():
        raise ValueError(
            f"--range must go with an --out other than {stage.SAMPLES}, got {out}: other stages would take the part "
            "for the whole; name another folder"
        )
    return first, last
