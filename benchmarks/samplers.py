"""Every sampler on one checkpoint: distance to the real images, network evaluations and time, at several step counts.

    python benchmarks/samplers.py --steps 5,10,20 --num-images 500 --out docs/samplers.md

It writes a page and, beside it, `images/samplers.png`: the same x_T through every sampler. All that is not the sampler
or its number of steps comes from params.yaml. With the quick checkpoint on two CPU cores it takes about 18 minutes,
`ode` almost seven of them.
"""

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm.diffusion.samplers import SAMPLERS
from ddpm.drawing.grid import PADDING, tile
from ddpm.drawing.look import INK, MUTED, PAPER, type_face
from ddpm.drawing.png import save_png
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint
from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import distance
from ddpm.engine.features import image_set
from ddpm.engine.sample import sample_images
from ddpm.experiment.params import SampleParams
from ddpm.experiment.params_file import load
from ddpm.experiment.workspace import atomic_path
from ddpm.metrics.features import Extractor, build_extractor
from ddpm.metrics.record import Protocol
from ddpm.metrics.statistics import Statistics, load_statistics

CPU = torch.device("cpu")
SHOWN = 5
"""Images of each run in the picture."""

USUAL: dict[str, list[dict[str, Any]]] = {
    "ddim": [{"eta": 0}, {"eta": 1}],
    "ddpm": [{"variance": "fixed_small"}, {"variance": "fixed_large"}],
    "dpmpp-2m-sde": [{"eta": 1}],
    "euler": [{"churn": 0}],
    "heun": [{"churn": 0}],
}
"""What each sampler is told, as it is usually used; nothing but params.yaml for the others."""

ADAPTIVE = {"ode"}
"""Samplers that choose their own steps: one run tells all, so they get only the largest count."""


@dataclass(frozen=True)
class Result:
    """One sampler at one number of steps."""

    label: str
    steps: int
    nfe: float
    seconds: float
    record: Mapping[str, Any]
    images: NDArray[np.uint8]


def silent(num_images: int) -> None:
    """No progress bar."""


def runs(sample: SampleParams, counts: list[int], num_images: int) -> list[tuple[str, SampleParams]]:
    """(label, parameters) of all that is to be drawn: sampler by sampler, few steps first."""
    found = []
    for sampler in SAMPLERS:
        for settings in USUAL.get(sampler, [{}]):
            told = [f"{name} {value}" for name, value in settings.items() if name != "churn"]
            label = f"{sampler} ({', '.join(told)})" if told else sampler
            for steps in counts[-1:] if sampler in ADAPTIVE else counts:
                numbers = {name: float(value) if value in {0, 1} else value for name, value in settings.items()}
                changes = {"sampler": sampler, "steps": steps, "num_images": num_images, **numbers}
                changes["batch"] = min(sample.batch, num_images)
                found.append((label, SampleParams.model_validate(sample.model_dump() | changes)))
    return found


def measure(
    label: str, checkpoint: Checkpoint, sample: SampleParams, reference: Statistics, extractor: Extractor
) -> Result:
    """Draw the images of one run, and compare them with the reference."""
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        drawn = sample_images(checkpoint, sample, Path(folder), alone(CPU), silent)
        seconds = time.perf_counter() - started
        images: NDArray[np.uint8] = np.load(drawn.path, allow_pickle=False)
    protocol = Protocol("own", "uint8 npy", image_set(images).sha256, reference.identity["data_sha256"])
    record = distance(extractor.extract(images), reference, extractor, protocol)
    click.echo(f"{label:36} {sample.steps:4} steps {seconds:8.1f} s   {record['value']:.4f}", err=True)
    return Result(label, sample.steps, drawn.nfe, seconds, record, images[:SHOWN])


def picture(results: list[Result], counts: list[int], zoom: int = 3) -> Image.Image:
    """Samplers in rows, numbers of steps in columns; every cell starts from the same x_T."""
    labels = list(dict.fromkeys(result.label for result in results))
    cells = {(r.label, r.steps): tile(r.images, 1, len(r.images), zoom, 2).convert("RGB") for r in results}
    width, height = next(iter(cells.values())).size
    face = type_face(15)
    left, top = int(max(face.getlength(label) for label in labels)) + 3 * PADDING, 30
    size = (left + len(counts) * (width + 2 * PADDING), top + len(labels) * (height + PADDING))
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, steps in enumerate(counts):
        across = left + column * (width + 2 * PADDING)
        pen.text((across + width / 2, top / 2), f"{steps} steps", fill=MUTED, font=face, anchor="mm")
        for row, label in enumerate(labels):
            if (label, steps) in cells:
                sheet.paste(cells[label, steps], (across, top + row * (height + PADDING)))
    for row, label in enumerate(labels):
        middle = top + row * (height + PADDING) + height / 2
        pen.text((left - 2 * PADDING, middle), label, fill=INK, font=face, anchor="rm")
    return sheet


def processor() -> str:
    """The name of the CPU, as the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def page(results: list[Result], counts: list[int], sample: SampleParams, command: str) -> str:
    """The whole page."""
    cells = {(result.label, result.steps): result for result in results}
    labels, metric = list(dict.fromkeys(result.label for result in results)), results[0].record["name"]

    def value(label: str, steps: int) -> str:
        return f"{cells[label, steps].record['value']:.3f}" if (label, steps) in cells else ""

    short = [[f"`{label}`", *(value(label, steps) for steps in counts)] for label in labels]
    long = [
        [f"`{r.label}`", str(r.steps), f"{r.nfe:g}", f"{r.record['value']:.4f}", f"{r.seconds:.1f}",
         f"{sample.num_images / r.seconds:.1f}"]
        for r in results
    ]  # fmt: skip
    kept = (
        f"Guidance scale {sample.guidance_scale:g}, spacing {sample.spacing}, x0_hat "
        f"{'clipped' if sample.clip_x0 else 'not clipped'}, seed {sample.seed}, {sample.num_images} images, batches"
        f" of\n{sample.batch}, {sample.precision}; no churn; corrector steps {sample.corrector_steps} of snr "
        f"{sample.corrector_snr:g}; tolerance of `ode` {sample.tolerance:g}"
    )
    machine = f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch {torch.__version__}"
    return f"""# The samplers, measured

One checkpoint and the same noise x_T for all. {kept}. Written by
`benchmarks/samplers.py`:

```sh
{command}
```

{machine}; {datetime.now(UTC).date()}. The distances are the same on every run, the seconds are not.

![Samplers in rows, numbers of steps in columns, the same five images in every cell](images/samplers.png)

## {metric}: the lower, the nearer to the real images

{table(["sampler", *(f"{n} steps" for n in counts)], short)}

## All numbers

NFE is counted: how often the network saw each image. With guidance a step asks twice. Heun's method and the corrector
ask again within a step; the adaptive `ode` asks as often as its tolerance wants: its steps are only where it stops, so
it runs once.

{table(["sampler", "steps", "NFE", metric, "seconds", "images/s"], long)}
"""


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), default=Path("data/weights/ema.safetensors"))
@click.option("--reference", type=click.Path(path_type=Path), default=Path("data/reference/statistics.npz"))
@click.option("--params", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--steps", default="5,10,20", help="Numbers of steps, with commas.")
@click.option("--num-images", type=click.IntRange(min=SHOWN), default=500)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/samplers.md"))
def main(checkpoint: Path, reference: Path, params: Path, steps: str, num_images: int, out: Path) -> None:
    """Measure every sampler, and write the page and its picture."""
    counts = sorted({int(count) for count in steps.split(",")})
    loaded, statistics = load_checkpoint(checkpoint), load_statistics(reference)
    extractor = build_extractor(statistics.identity["features"], weights=None, download=False, device=CPU)
    wanted = runs(load(params, []).sample, counts, num_images)
    with TemporaryDirectory() as folder:  # the first run of a process is slow: it loads what torch loads late
        few = wanted[0][1].model_copy(update={"num_images": 2, "batch": 2})
        sample_images(loaded, few, Path(folder), alone(CPU), silent)
    results = [measure(label, loaded, sample, statistics, extractor) for label, sample in wanted]
    command = "python " + " ".join(["benchmarks/samplers.py", *sys.argv[1:]])
    (out.parent / "images").mkdir(parents=True, exist_ok=True)
    with atomic_path(out.parent / "images" / "samplers.png") as temporary:
        save_png(picture(results, counts), temporary, {"ddpm.command": command})
    with atomic_path(out) as temporary:
        temporary.write_text(page(results, counts, wanted[0][1], command))
    click.echo(f"{out}: {len(results)} runs. The picture: {out.parent / 'images' / 'samplers.png'}")


if __name__ == "__main__":
    main()
