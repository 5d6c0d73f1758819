"""What all stage commands share: options, validation before work, tracking, progress, and the last lines."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddpm.experiment.stages import PREPARED as PREPARED
from ddpm.experiment.stages import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ddpm.engine.distributed import Team
    from ddpm.experiment.params import Params

Command = TypeVar("Command", bound=Callable[..., Any])

STATISTICS, WEIGHTS = STAGES["reference"].outputs[0], STAGES["train"].outputs[0]
SAMPLES = STAGES["sample"].outputs[0].parent
RESULTS = Path("results")


def params_options(command: Command) -> Command:
    """--params and -S, as `dvc exp run -S` has it."""
    for option in (
        click.option(
            "-S", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one parameter; repeatable."
        ),
        click.option(
            "--params",
            "params_path",
            type=click.Path(path_type=Path),
            default=Path("params.yaml"),
            show_default=True,
            help="Parameter file; every section is validated.",
        ),
    ):
        command = option(command)
    return command


def path_option(name: str, default: Path, text: str) -> Callable[[Command], Command]:
    """An explicit input or output that defaults to the pipeline's place."""
    return click.option(name, type=click.Path(path_type=Path), default=default, show_default=True, help=text)


def results_option(files: str) -> Callable[[Command], Command]:
    """--results, the folder of the small files that stand in git."""
    text = f"Folder for {files}.  [default: results, or beside --out]"
    return click.option("--results", type=click.Path(path_type=Path), help=text)


def device_option(command: Command) -> Command:
    """--device for the commands that compute with torch."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        envvar="DDPM_DEVICE",
        show_envvar=True,
        help="auto, cpu, cuda or cuda:N.",
    )(command)


def devices_option(command: Command) -> Command:
    """--devices for the commands whose result does not depend on how many processes share the work."""
    return click.option(
        "--devices",
        default="auto",
        show_default=True,
        envvar="DDPM_DEVICES",
        show_envvar=True,
        help="Processes that share the work: a number, or auto: one per GPU, one on a CPU.",
    )(command)


def spread(devices: str | int, device: str) -> bool:
    """Start this command again in several processes, if `devices` asks for more than one, and wait for them.

    Returns:
        Whether it did: then all is done. False in each of those processes, and where one process is enough.

    Raises:
        ValueError: devices is neither `auto` nor a number, or there are not so many.
    """
    from ddpm.engine.distributed import count_devices, launch, launched

    if devices != "auto" and not (str(devices).isdecimal() and int(devices) > 0):
        raise ValueError(f"--devices must be auto or a number above 0, got {devices}")
    if launched() or (count := count_devices(devices, device)) == 1:
        return False
    launch(count, click.get_current_context().meta["ddpm.arguments"])
    return True


def rows_and_columns(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,
    value: str | None,
) -> tuple[int, int] | None:
    """Callback of an option like `--grid 10x10`: (rows, columns), None where it is not given."""
    if value is None:
        return None
    rows, _, columns = value.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise click.UsageError(f"{parameter.opts[0]} must be ROWSxCOLUMNS, such as 10x10, got {value}")
    return int(rows), int(columns)


def weights_options(command: Command) -> Command:
    """--weights and --download for the commands that may need the Inception network."""
    for option in (
        click.option("--download", is_flag=True, help="Fetch the published weights if they are not found (95 MB)."),
        click.option(
            "--weights", type=click.Path(path_type=Path), help="Weights of the FID network; sha256 is verified."
        ),
    ):
        command = option(command)
    return command


def load_params(params_path: Path, overrides: Sequence[str]) -> "Params":
    """The validated parameters; every problem of the file is reported at once."""
    from ddpm.experiment.params_file import load

    return load(params_path, overrides)


@dataclass
class Recorder:
    """Collects what a stage found; when the stage succeeds, all of it goes to the result files and to MLflow."""

    run: Any
    numbers: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Path] = field(default_factory=list)

    def log_curve(self, rows: Sequence[dict[str, float]]) -> None:
        """Mirror the whole curve; points that are there already are not doubled."""
        if self.run is not None:
            self.run.log_curve(rows)


@contextmanager
def recorded(stage: str, params: "Params", team: "Team | None", standard: bool) -> Iterator[Recorder]:
    """Mirror a stage in MLflow: start before the work, numbers and files after it, the error if it fails.

    Args:
        stage: a key of `ddpm.experiment.stages.STAGES`.
        params: what the run is keyed by.
        team: its device type is a tag of the stage; only its first process mirrors. None: one process on the CPU.
        standard: whether all inputs and outputs are the pipeline's own. A run on other files is not mirrored: it would
            be filed under parameters that did not make it.
    """
    from ddpm.experiment import tracking, workspace

    started = time.monotonic()
    if team is not None and not team.first:
        yield Recorder(run=None)
        return
    device = "cpu" if team is None else team.device.type
    if not standard:
        click.echo(f"{stage}: explicit inputs or outputs, so this run is not recorded in MLflow", err=True)
        yield Recorder(run=None)
    else:
        with tracking.stage_run(stage, params.model_dump(), device, workspace.project_root()) as run:
            recorder = Recorder(run=run)
            yield recorder
            run.finish(recorder.numbers, recorder.artifacts)
        keep_timing(stage, params, device, time.monotonic() - started)
    click.echo(f"{stage}: {time.monotonic() - started:.1f} s", err=True)


def keep_timing(stage: str, params: "Params", device: str, seconds: float) -> None:
    """Note for results/report.html how long a stage took, and with which parameters; the outputs hold no clock."""
    from ddpm.experiment.workspace import project_root, write_json

    record = {"seconds": round(seconds, 3), "device": device, "params": params.model_dump()}
    write_json(project_root() / "work" / "timings" / f"{stage}.json", record)


@contextmanager
def work(stage: str, params: "Params", inputs: Sequence[Path], team: "Team", part: str = "") -> Iterator[Path]:
    """The folder of a stage's unfinished state, found again only by the same parameters, inputs and code.

    The first process of the team locks it, and removes it when all of them have left; the others look in. Parts of one
    stage have places and locks of their own.
    """
    from ddpm.experiment.fingerprint import work_fingerprint

    fingerprint = work_fingerprint(stage, params.model_dump(), list(inputs), Path.cwd(), team.device.type)
    with _shared(f"{stage}-{part.replace(':', '-')}" if part else stage, fingerprint, team) as folder:
        yield folder


@contextmanager
def joint_work(name: str, params: "Params", inputs: Sequence[Path], team: "Team") -> Iterator[Path]:
    """The same for a command that draws images and measures them: found again by parameters and code of both stages."""
    import hashlib

    from ddpm.experiment.fingerprint import work_fingerprint

    place = Path.cwd(), team.device.type
    drawn = work_fingerprint("sample", params.model_dump(), list(inputs), *place)
    measured = work_fingerprint("evaluate", params.model_dump(), [], *place)
    with _shared(name, hashlib.sha256(f"{drawn} {measured}".encode()).hexdigest(), team) as folder:
        yield folder


@contextmanager
def _shared(name: str, fingerprint: str, team: "Team") -> Iterator[Path]:
    from ddpm.experiment.workspace import project_root, work_folder, work_path

    if not team.first:
        team.wait()  # for the lock
        yield work_path(name, fingerprint, project_root())
        team.wait()
        return
    with work_folder(name, fingerprint, project_root()) as folder:
        team.wait()
        yield folder
        team.wait()


@contextmanager
def progress(description: str, total: int, unit: str, shown: bool = True) -> Iterator[Any]:
    """A progress bar on stderr with rate and ETA; few lines when stderr is not a terminal, none if not `shown`."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 15.0
    with tqdm(
        total=total,
        desc=description,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",  # 1.44GB
        mininterval=interval,
        dynamic_ncols=True,
        disable=not shown,
    ) as bar:
        yield bar


def is_standard(**places: tuple[Path, Path]) -> bool:
    """Whether every (given, default) pair of places agrees."""
    return all(given == default for given, default in places.values())


def require_files(*paths: Path) -> None:
    """Refuse to start without the inputs.

    Raises:
        ValueError: the first one that is missing, and the stage that makes it.
    """
    for path in paths:
        if not path.exists():
            makers = [stage.name for stage in STAGES.values() if path in (*stage.outputs, stage.numbers, stage.curve)]
            way_out = f"make it with `python -m ddpm {makers[0]}`" if makers else "correct the path"
            raise ValueError(f"{path}: no such file; {way_out}")


def load_array(path: Path) -> "NDArray[Any]":
    """Open an .npy file as a read-only memory map; nothing is unpickled.

    Raises:
        ValueError: missing or damaged.
    """
    import numpy as np

    require_files(path)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: damaged array ({reason}); restore it with `dvc checkout`, or make it again"
        ) from None
    return array


def results_folder(results: Path | None, out: Path, default_out: Path) -> Path:
    """Where the small result files go: --results, else results/ for the pipeline's own outputs, else beside --out."""
    if results is not None:
        return results
    if out == default_out:
        return RESULTS
    return out.parent if default_out.suffix else out
