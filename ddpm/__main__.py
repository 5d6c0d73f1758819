"""`python -m ddpm`: the commands. Help answers without torch and without mlflow."""

import os
import signal
import sys
import warnings
from importlib import import_module
from keyword import iskeyword
from pathlib import Path

import click

from ddpm.experiment.interruption import Interrupted

COMMANDS = {
    "recipe": "Choose a documented experiment and write params.yaml.",
    "prepare": "Raw images -> one uint8 array per split.",
    "data": "What the prepared images are, and a look at them.",
    "reference": "Real images -> feature statistics.",
    "train": "Prepared images -> EMA weights.",
    "sample": "Weights -> images.",
    "samples": "Samples of several runs -> one set; samples -> PNG, zip, npz or sheets.",
    "evaluate": "Samples and reference -> metrics.json.",
    "figures": "Everything -> pictures.",
    "figure": "One picture, with options of its own.",
    "report": "The files of an experiment -> one page.",
    "likelihood": "Weights and held-out images -> bits/dim.",
    "invert": "Images -> latents, and back.",
    "import": "A checkpoint of another system -> weights.",
    "export": "Weights -> a folder of diffusers.",
    "average": "Stored averages of the weights -> any other average.",
    "best": "Stored averages of the weights -> the one that draws best.",
    "seeds": "Weights -> mean and deviation of the distance over sampling seeds.",
}
"""Command -> its line in the overview; the command itself lives in ddpm/cli/<name>.py. In the order of the pipeline."""


class Commands(click.Group):
    """Loads a command when it is called, and says what a user can mend in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import ddpm/cli/<name>.py; `import` is a keyword of Python, so its module and function are `import_`."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = getattr(import_module(f"ddpm.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The overview, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the command line: work on several devices starts it again."""
        ctx.meta["ddpm.arguments"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Say in one line what a user caused or the machine refused; DDPM_TRACEBACK=1 shows where."""
        warnings.showwarning = _show_warning
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            if os.environ.get("DDPM_TRACEBACK"):
                raise
            return _refuse(ctx, _message(error))
        except RuntimeError as error:
            if "DDPM_REFUSAL" not in os.environ or not any(name in str(error) for name in ("gloo", "NCCL")):
                raise
            line = str(error).splitlines()[0]
            click.echo(f"process {os.environ['RANK']} lost another one and will be started again: {line}", err=True)
            ctx.exit(1)
        except Interrupted as stopped:
            if str(stopped):
                click.echo(str(stopped), err=True)
            ctx.exit(128 + stopped.signal)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)


def _refuse(ctx: click.Context, message: str) -> object:
    """End with one line of error. One of several processes hands it to the one that started them, and ends in peace:

    a process that fails is started again, which would not help here.
    """
    refusal = os.environ.get("DDPM_REFUSAL")
    if refusal is None:
        raise click.ClickException(message)
    Path(refusal).write_text(message)
    return ctx.exit(0)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """One line, as errors have it, instead of a place in the code."""
    from tqdm import tqdm

    tqdm.write(f"Warning: {message}", file=sys.stderr)  # above a progress bar, not into it


def _message(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'disk'}: {error.strerror.lower()}; nothing finished was lost, run the command again"
    return str(error)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ddpm")
def main() -> None:
    """A reproducible DDPM experiment, stage by stage.

    \b
    Example, the whole pipeline (what changed is run, the rest comes from the cache):
      dvc repro
    Example, one stage by hand:
      python -m ddpm sample --checkpoint data/weights/ema.safetensors --out work/mine
    """


if __name__ == "__main__":
    main(prog_name="python -m ddpm")
