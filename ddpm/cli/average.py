"""ddpm average: stored averages of the weights -> any other average."""

from pathlib import Path

import click

from ddpm.cli import stage

LARGE = 0.1
"""A residual above this is pointed out: the snapshots do not know the wanted average well."""


@click.command()
@stage.path_option("--snapshots", stage.WEIGHTS.parent / "averages", "Folder of averages that `train` wrote.")
@click.option("--width", type=float, required=True, help="Relative width sigma_rel of the average, in (0, 0.28).")
@click.option("--step", type=click.IntRange(min=1), help="Training step at which it ends.  [default: the last one]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the weights go (.safetensors).")
def average(snapshots: Path, width: float, step: int | None, out: Path) -> None:
    """Put together the power-function average of any width from those that were stored during training.

    Needs averages of two widths (train.ema_widths), stored now and then (train.snapshot_every). The residual says which
    part of the wanted average they cannot express: under 0.03 it is as good as tracked. It is small for widths near the
    stored ones, at a step that was stored.

    \b
    Example:
      python -m ddpm train   -S train.ema_widths='[0.05,0.1]' -S train.snapshot_every=50
      python -m ddpm average --width 0.13 --out data/weights/width-0.13.safetensors
    """
    from ddpm.engine import posthoc
    from ddpm.engine.averages import power_gamma
    from ddpm.engine.checkpoint import save_checkpoint
    from ddpm.experiment.workspace import require_writable

    power_gamma(width)  # refuses one that is out of range before any file is read
    require_writable(out)
    found = posthoc.find_snapshots(snapshots)
    last = max(snapshot.profile.step for snapshot in found)
    with stage.progress("average", len(found), "files") as bar:
        checkpoint, solution = posthoc.reconstruct(found, posthoc.Profile(width, step or last), bar.update)
    save_checkpoint(out, checkpoint)
    if solution.residual > LARGE:
        widths = ", ".join(f"{value:g}" for value in sorted({snapshot.profile.width for snapshot in found}))
        click.echo(
            f"average: the residual is large; take a width near the stored ones ({widths}), a stored step, "
            "or store more snapshots",
            err=True,
        )
    click.echo(
        f"{out}: width {width:g} at step {checkpoint.step:,} from {len(found)} snapshots, residual "
        f"{solution.residual:.4f}. Next: python -m ddpm sample --checkpoint {out} --out {out.parent / out.stem}"
    )
