"""ddpm import: a checkpoint of another system -> one of ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.engine.interop import Imported
    from ddpm.experiment.params import Params

SECTIONS = ("data", "schedule", "model", "objective")


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the checkpoint goes (.safetensors).")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["auto", "diffusers", "ddim", "kimrass"]),
    default="auto",
    show_default=True,
    help="diffusers: a folder; ddim: ckpt.pth of the DDIM authors; kimrass: .pth of KimRass/DDPM.",
)
@click.option(
    "--weights",
    type=click.Choice(["ema", "model"]),
    default="ema",
    show_default=True,
    help="Which weights, where a file holds both.",
)
@click.option("--image-size", type=click.IntRange(min=4), help="Side of square images, where the source does not tell.")
@click.option("--params-out", type=click.Path(path_type=Path), help="Also write a parameter file that fits the net.")
@stage.params_options
def import_(
    source: Path,
    out: Path,
    kind: str,
    weights: str,
    image_size: int | None,
    params_out: Path | None,
    params_path: Path,
    overrides: tuple[str, ...],
) -> None:
    """Import SOURCE, a folder of diffusers or a checkpoint file; nothing in it is executed.

    What no foreign file tells (where the data come from) is taken from the parameter file. With --params-out every
    stage works with the net as with one trained here: pass that file with --params.

    \b
    Example:
      python -m ddpm import ddpm-cifar10-32 --out work/cifar10/ema.safetensors
      python -m ddpm import ckpt.pth --params pipeline/recipes/celeba64.yaml --out work/ddim/ema.safetensors
    """
    params = stage.load_params(params_path, overrides)

    from ddpm.engine.checkpoint import save_checkpoint
    from ddpm.engine.interop import import_checkpoint
    from ddpm.experiment.params_file import override_text
    from ddpm.experiment.workspace import require_writable, write_bytes

    for target in filter(None, (out, params_out)):
        require_writable(target)
    click.echo(f"import: reading {source}", err=True)
    found = import_checkpoint(source, kind, weights, image_size, params)
    fitting = [*overrides, *_changes(params, found), *_sampling(found)]
    if params_out is not None:
        _require_fitting(params_path, fitting)
        write_bytes(params_out, override_text(params_path.read_text(), fitting).encode())
    save_checkpoint(out, found.checkpoint)
    data = found.checkpoint.data
    kept = f"{data.source}, {data.crop}" if data.crop != "none" else data.source
    shape = "x".join(map(str, data.shape))
    for note in (*found.notes, f"images are {shape}; their source ({kept}) is what {params_path.name} says"):
        click.echo(f"import: {note}", err=True)
    if out == stage.WEIGHTS:
        click.echo("import: `dvc repro` will train again over these weights; elsewhere they are safe", err=True)
    count = sum(tensor.numel() for tensor in found.checkpoint.weights.values())
    click.echo(f"{out}: {count:,} weights for images of {shape}, from {found.format}")
    given = f"--params {params_out}" if params_out else " ".join(f"-S {item}" for item in _sampling(found))
    click.echo(f"Next: python -m ddpm sample --checkpoint {out} {given} --out {out.parent / 'samples'}")
    if params_out is None:
        click.echo("For evaluate, figures and all others: import again with --params-out FILE", err=True)


def _changes(params: "Params", found: "Imported") -> list[str]:
    """The overrides that make the sections of a parameter file those of the checkpoint."""
    import json

    lines = []
    for section in SECTIONS:
        before, after = getattr(params, section), getattr(found.checkpoint, section)
        for key, value in after.model_dump().items():
            if getattr(before, key) != value:
                text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
                lines.append(f"{section}.{key}={text}")
    if params.train.preview_steps > (T := found.checkpoint.schedule.T):
        lines.append(f"train.preview_steps={T}")
    return lines


def _sampling(found: "Imported") -> list[str]:
    """The overrides of `sample` that draw as the other system does."""
    import json

    settings: dict[str, Any] = dict(found.sampling) | {"guidance_scale": 1.0}
    lines = [
        f"sample.{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()
    ]
    if found.checkpoint.objective.variance == "learned":  # without it, sample.variance=learned would be refused
        objective = found.checkpoint.objective
        lines += ["objective.variance=learned", f"objective.vlb_weight={objective.vlb_weight}"]
    return lines


def _require_fitting(params_path: Path, overrides: list[str]) -> None:
    from ddpm.experiment.params_file import load

    try:
        load(params_path, overrides)
    except ValueError as error:
        first = str(error).splitlines()[0]
        way_out = "begin from another recipe with --params, or correct it with -S"
        raise ValueError(f"--params-out must fit the imported net, got {first}; {way_out}") from None
