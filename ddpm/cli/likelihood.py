"""ddpm likelihood: weights and held-out images -> bits/dim."""

from pathlib import Path

import click

from ddpm.cli import stage


@click.command()
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights to judge; they know their net and process.")
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@click.option(
    "--split", type=click.Choice(["valid", "train"]), default="valid", show_default=True, help="Which images."
)
@click.option(
    "--num-images", type=click.IntRange(min=1), default=64, show_default=True, help="The first images of the split."
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Images per network evaluation."
)
@click.option(
    "--method",
    type=click.Choice(["vlb", "ode"]),
    default="vlb",
    show_default=True,
    help="vlb: variational bound of a chain. ode: exact density of the probability flow, for every process.",
)
@click.option(
    "--variance",
    type=click.Choice(["fixed_small", "fixed_large", "learned"]),
    default="fixed_small",
    show_default=True,
    help="Of the reverse steps; read by vlb.",
)
@click.option(
    "--clip/--no-clip",
    default=False,
    show_default=True,
    help="Put x0_hat into [-1, 1] before the bound is taken, as published numbers do; read by vlb.",
)
@click.option(
    "--probes", type=click.IntRange(min=1), default=1, show_default=True, help="Random directions; read by ode."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=1e-5,
    show_default=True,
    help="Error allowed in a step; read by ode.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of noise, probes, dequantization."
)
@stage.path_option("--out", stage.RESULTS / "likelihood.json", "Where the record goes.")
@stage.device_option
def likelihood(
    checkpoint: Path,
    data: Path,
    split: str,
    num_images: int,
    batch: int,
    method: str,
    variance: str,
    clip: bool,
    probes: int,
    tolerance: float,
    seed: int,
    out: Path,
    device: str,
) -> None:
    """Measure how many bits per dimension the model needs for held-out images.

    vlb costs T network evaluations per image and judges the chain (Ho et al. 2020, eq. 5); ode costs some hundred with
    gradients and judges the probability flow (Song et al. 2021, eq. 39) of data with the noise of t = 1,
    uniformly dequantized. A class-conditional net is told the labels; guidance is 1.

    This is no stage of the pipeline: params.yaml has no section for it, and the record holds all that was chosen.

    \b
    Example:
      python -m ddpm likelihood --num-images 32
      python -m ddpm likelihood --method ode --probes 4 --out work/likelihood_ode.json
    """
    from ddpm.data.store import open_split
    from ddpm.digest import file_sha256
    from ddpm.engine import likelihood as engine
    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.device import pick_device
    from ddpm.engine.unguided import require_images
    from ddpm.experiment.workspace import require_writable, write_json

    place, loaded = pick_device(device), load_checkpoint(checkpoint)
    asked = engine.Likelihood(method, variance, clip, probes, tolerance, num_images, min(batch, num_images), seed)
    engine.require_method(loaded, asked)
    images = open_split(data, split)
    require_images(loaded, images.images, num_images, f"{data} ({split})")
    require_writable(out)
    with stage.progress("likelihood", engine.evaluations(loaded, asked), "network evaluations") as bar:
        record = engine.likelihood(loaded, images, asked, place, bar.update)
    record |= {"split": split, "weights_sha256": file_sha256(checkpoint)}
    write_json(out, record)
    error = "" if record["standard_error"] is None else f" ± {record['standard_error']:.4f}"
    click.echo(
        f"{out}: {record['bits_per_dim']:.4f}{error} bits/dim ({method}, {num_images} {split} images). "
        f"Next: compare with {'--method ode' if method == 'vlb' else 'other weights, --checkpoint'}"
    )
