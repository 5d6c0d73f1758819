"""ddpm best: stored averages of the weights -> the one that draws best."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.engine.distributed import Team
    from ddpm.experiment.params import Params


@click.command()
@stage.params_options
@stage.path_option("--snapshots", stage.WEIGHTS.parent / "averages", "Folder of checkpoints; all are measured.")
@stage.path_option("--reference", stage.STATISTICS, "Statistics of the real images.")
@click.option("--num-images", type=click.IntRange(min=2), help="Drawn of each.  [default: evaluate.num_images]")
@stage.path_option("--out", stage.WEIGHTS.parent / "best.safetensors", "Where the best weights go; .json beside them.")
@stage.weights_options
@stage.devices_option
@stage.device_option
def best(
    params_path: Path,
    overrides: tuple[str, ...],
    snapshots: Path,
    reference: Path,
    num_images: int | None,
    out: Path,
    weights: Path | None,
    download: bool,
    devices: str,
    device: str,
) -> None:
    """Draw images of every checkpoint in a folder, measure them, and copy the best checkpoint to --out.

    All are drawn from the same noise, as the section sample says. A killed run goes on where it was. The best of many
    owes a part of its lead to luck: measure it again with another sample.seed.

    \b
    Example:
      python -m ddpm best --num-images 200 --out data/weights/best.safetensors
    """
    from ddpm.experiment.workspace import require_writable

    params = stage.load_params(params_path, overrides)
    for target in (out, out.with_suffix(".json")):
        require_writable(target)
    if stage.spread(devices, device):
        return

    from ddpm.engine.distributed import join

    count = num_images or params.evaluate.num_images
    changes = {"num_images": count, "batch": min(params.sample.batch, count)}
    params = params.model_copy(update={"sample": params.sample.model_copy(update=changes)})
    with join(device) as team:
        run(params, snapshots, reference, out, (weights, download), team)


def run(
    params: "Params", snapshots: Path, reference: Path, out: Path, network: tuple[Path | None, bool], team: "Team"
) -> None:
    """Measure all, as one process of a team, and copy the best; `network` is (--weights, --download)."""
    from ddpm.engine import choose
    from ddpm.engine.device import set_determinism
    from ddpm.experiment.workspace import copy_file, write_json

    set_determinism(deterministic=True)
    protocol = choose.protocol_of(params, reference, network, team.device)
    paths = choose.find_candidates(snapshots, protocol, team)
    total = len(paths) * params.sample.num_images
    with (
        stage.joint_work("best", params, [*paths, reference], team) as work,
        stage.progress("best", total, "images", team.first) as bar,
    ):
        found = [choose.measure(path, protocol, work, team, bar.update) for path in paths]
        if team.first:
            copy_file(snapshots / choose.winner(found).file, out)
            write_json(out.with_suffix(".json"), choose.content(found, params.sample))
    if team.first:
        click.echo(choose.table(found))
        chosen = choose.winner(found)
        click.echo(
            f"{out}: {chosen.file}, {chosen.record['name']} {chosen.record['value']:.4f} ({chosen.record['grade']}). "
            f"Next: python -m ddpm sample --checkpoint {out} -S sample.seed={params.sample.seed + 1} "
            f"--out {out.parent / out.stem}"
        )
