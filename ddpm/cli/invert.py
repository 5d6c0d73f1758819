"""ddpm invert: images -> latents, and back."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpm.cli import stage

if TYPE_CHECKING:
    from ddpm.data.store import Split


@click.command()
@stage.path_option("--checkpoint", stage.WEIGHTS, "Weights to invert by; they know their net and process.")
@stage.path_option("--data", stage.PREPARED, "Folder of prepared images.")
@click.option(
    "--split", type=click.Choice(["valid", "train"]), default="valid", show_default=True, help="Which images."
)
@click.option("--images", type=click.Path(path_type=Path), help="Images of your own instead: uint8 NHWC .npy.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Their classes, int64 .npy; needed by a net with classes."
)
@click.option("--num-images", type=click.IntRange(min=1), default=8, show_default=True, help="The first ones.")
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Steps each way, at most T.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Images per network evaluation."
)
@click.option("--zoom", type=click.IntRange(1, 32), default=4, show_default=True, help="Of the picture.")
@click.option("--guidance-scale", type=float, default=1.0, show_default=True, help="Only 1 can be inverted.")
@stage.path_option("--out", Path("work/invert"), "Folder for latents.npy and invert.png.")
@stage.device_option
def invert(
    checkpoint: Path,
    data: Path,
    split: str,
    images: Path | None,
    labels: Path | None,
    num_images: int,
    steps: int,
    batch: int,
    zoom: int,
    guidance_scale: float,
    out: Path,
    device: str,
) -> None:
    """Encode real images into noise by DDIM inversion, and decode them again.

    Writes latents.npy (float32, from which `ddim` with eta 0 draws the images) and a picture with original, latent and
    reconstruction in each row. The more steps, the better the reconstruction; x0_hat is not clipped.

    \b
    Example:
      python -m ddpm invert --num-images 8 --steps 100
      python -m ddpm invert --images mine.npy --labels mine_labels.npy --out work/mine
    """
    import numpy as np

    from ddpm.data.store import open_split
    from ddpm.drawing.png import save_png
    from ddpm.engine import invert as engine
    from ddpm.engine.checkpoint import load_checkpoint
    from ddpm.engine.device import pick_device
    from ddpm.engine.unguided import require_images
    from ddpm.experiment.workspace import atomic_path, require_writable

    if guidance_scale != 1:
        raise ValueError(
            f"--guidance-scale must be 1, got {guidance_scale:g}; a guided step amplifies its own errors on the way "
            "back, so that other scales do not lead back to the image"
        )
    place, loaded = pick_device(device), load_checkpoint(checkpoint)
    engine.require_invertible(loaded, steps)
    chosen = _own(images, labels, loaded.model.num_classes) if images or labels else open_split(data, split)
    require_images(loaded, chosen.images, num_images, images or f"{data} ({split})")
    require_writable(out / "latents.npy")
    with stage.progress("invert", num_images, "images") as bar:
        found = engine.invert_images(loaded, chosen, num_images, steps, batch, place, bar.update)
    with atomic_path(out / "latents.npy") as temporary, temporary.open("wb") as file:
        np.save(file, found.latents, allow_pickle=False)
    with atomic_path(out / "invert.png") as temporary:
        save_png(engine.draw(found, min(num_images, 16), zoom), temporary, {"ddpm.invert": f"{steps} steps"})
    click.echo(
        f"{out}: {num_images} latents in latents.npy; reconstructed with {found.psnr.mean():.2f} dB PSNR on average. "
        f"Next: look at {out / 'invert.png'}, or take more --steps"
    )


def _own(images: Path | None, labels: Path | None, num_classes: int) -> "Split":
    """The user's images as a split."""
    import numpy as np

    from ddpm.data.store import Split

    if images is None:
        raise ValueError(f"--images must be given with --labels, got only {labels}; a split brings its own labels")
    pixels = stage.load_array(images)
    if labels is None:
        if num_classes:
            raise ValueError(f"--labels must be given with --images for a net with {num_classes} classes, got none")
        return Split(pixels, np.zeros(len(pixels), np.int64))
    classes = np.array(stage.load_array(labels))
    if classes.shape != pixels.shape[:1] or classes.dtype != np.int64:
        raise ValueError(
            f"{labels}: must hold an int64 label for each of {len(pixels)} images, got {classes.dtype} {classes.shape}"
        )
    if num_classes and not ((classes >= 0) & (classes < num_classes)).all():
        raise ValueError(f"{labels}: must hold labels in 0..{num_classes - 1}, got {classes.min()}..{classes.max()}")
    return Split(pixels, classes)
