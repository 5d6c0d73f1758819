"""ddpm train: prepared images -> EMA weights and the training curve."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.cli import stage
from ddpm.cli.watch import Watch
from ddpm.experiment.stages import STAGES

if TYPE_CHECKING:
    from ddpm.engine.distributed import Team
    from ddpm.engine.train import Trained
    from ddpm.experiment.params import Params

PREVIEWS = (STAGES["train"].figures or Path()) / "evolution.png"


@click.command()
@stage.params_options
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@stage.path_option("--out", stage.WEIGHTS, "Where the EMA weights go (safetensors that explain themselves).")
@stage.results_option("train.csv, train.json and previews/evolution.png")
@stage.device_option
def train(
    params_path: Path, overrides: tuple[str, ...], data: Path, out: Path, results: Path | None, device: str
) -> None:
    """Train the U-Net; a killed run goes on where its last state in work/ was written.

    Ctrl-C (SIGINT) and SIGTERM write a state first. All averages of the weights go to averages/ beside --out.

    \b
    Example:
      python -m ddpm train -S train.steps=100 --out work/short/ema.safetensors
    Example, two GPUs of this machine:
      python -m ddpm train -S train.devices=2
    Example, on each of two machines with eight GPUs that share this folder:
      export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
      torchrun --nnodes 2 --nproc-per-node 8 --max-restarts 10 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        -m ddpm train
    """
    from ddpm.experiment.workspace import require_writable

    params = stage.load_params(params_path, overrides)
    folder = stage.results_folder(results, out, stage.WEIGHTS)
    for target in (out, folder / "train.csv"):
        require_writable(target)
    if stage.spread(params.train.devices, device):
        return

    from ddpm.engine.distributed import join

    with join(device) as team:
        run(params, data, out, folder, team)


def run(params: "Params", data: Path, out: Path, folder: Path, team: "Team") -> None:
    """Train, as one process of a team, and write what came out."""
    from ddpm.data.store import open_split
    from ddpm.engine import train as engine
    from ddpm.engine.build import num_steps
    from ddpm.engine.device import require_precision
    from ddpm.experiment.interruption import interruptible

    require_precision(params.train.precision, team.device)
    splits = open_split(data, "train"), open_split(data, "valid")
    engine.require_data(params, data, *splits)
    inputs = [data / name for name in ("train.npy", "train_labels.npy", "valid.npy", "valid_labels.npy")]
    standard = stage.is_standard(data=(data, stage.PREPARED), out=(out, stage.WEIGHTS), f=(folder, stage.RESULTS))
    images = num_steps(params.train, len(splits[0].images)) * params.train.batch
    with (
        interruptible(orphans_end=team.count > 1) as interruption,
        stage.work("train", params, inputs, team) as work,
        stage.recorded("train", params, team, standard) as recorder,
        stage.progress("train", images, "images", shown=team.first) as bar,
    ):
        watch = Watch(params, bar, recorder.run, folder / PREVIEWS.relative_to(stage.RESULTS), team)
        trained = engine.train(params, *splits, work, team, watch, interruption)
        if team.first:
            write(trained, out, folder)
            recorder.numbers = trained.numbers
            recorder.artifacts = [folder / "train.csv", folder / "train.json", watch.picture]
            recorder.log_curve(watch.rows(trained.rows))
    if team.first:
        last = trained.numbers
        held_out = f", held-out loss {last['valid_loss']:.4f}" if "valid_loss" in last else ""
        click.echo(f"{out}: step {last['step']:,}, loss {last['loss']:.4f}{held_out}. Next: python -m ddpm sample")


def write(trained: "Trained", out: Path, folder: Path) -> None:
    """Put weights, averages and numbers in their places; averages of an earlier run with the same --out go away."""
    from ddpm.engine.checkpoint import save_checkpoint
    from ddpm.engine.train import BEST, curve_csv
    from ddpm.experiment.workspace import copy_file, write_bytes, write_json

    averages = out.parent / "averages"
    for old in [*averages.glob("*-step-*.safetensors"), *averages.glob(BEST)]:
        old.unlink()
    for path in sorted(trained.averages.iterdir()):
        copy_file(path, averages / path.name)
    save_checkpoint(out, trained.checkpoint)
    write_bytes(folder / "train.csv", curve_csv(trained.rows))
    write_json(folder / "train.json", trained.numbers)
