"""What drawn images are: a manifest beside them, from which anybody can tell how to draw them again, or the others.

It holds no clock, host or version: the same weights and settings give the same bytes. Nothing here needs torch.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm.digest import file_sha256

if TYPE_CHECKING:
    from ddpm.engine.checkpoint import Checkpoint
    from ddpm.experiment.params import SampleParams

IMAGES, LABELS, MANIFEST = "images.npy", "labels.npy", "manifest.json"
"""The files of a folder of samples."""
NUMBERS = (
    "num_images",
    "nfe",
    "sampler",
    "steps",
    "guidance_scale",
    "seed",
    "trained_steps",
    "weights_sha256",
    "images_sha256",
)
"""What of a manifest stands in results/sample.json, and thereby in MLflow."""
SPEED = {"batch", "compile"}
"""Parameters of the section `sample` that say how fast, not what. On a GPU they may still move last bits."""
OF_A_PART = {"range", "num_images", "nfe", "evaluations", "images_sha256", "labels_sha256"}
"""Where the manifests of two parts of one set differ; in all else they agree."""


def describe(
    checkpoint: "Checkpoint",
    sample: "SampleParams",
    weights: Path,
    folder: Path,
    evaluations: int,
    chosen: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The manifest of the images and labels in a folder.

    Args:
        checkpoint: what they were drawn from.
        sample: how.
        weights: the file of the checkpoint.
        folder: holds IMAGES and LABELS.
        evaluations: of the net, for all images together.
        chosen: the images are the numbers first..last-1 of the set; None: they are the set.
    """
    first, last = chosen or (0, sample.num_images)
    return {
        **counts(first, last, evaluations),
        "sampler": sample.sampler,
        "steps": sample.steps,
        "guidance_scale": sample.guidance_scale,
        "seed": sample.seed,
        "sample": sample.model_dump(exclude=SPEED),
        "shape": list(checkpoint.data.shape),
        "conditional": checkpoint.model.num_classes > 0,
        "trained_steps": checkpoint.step,
        "weights_sha256": file_sha256(weights),
        **digests(folder),
    }


def counts(first: int, last: int, evaluations: int) -> dict[str, Any]:
    """What a manifest says about the images first..last-1 of a set, on which so many evaluations of the net went.

    nfe = evaluations / num_images, to two places
    """
    nfe = evaluations / (last - first)
    return {
        "range": [first, last],
        "num_images": last - first,
        "evaluations": evaluations,
        "nfe": int(nfe) if nfe.is_integer() else round(nfe, 2),
    }


def digests(folder: Path) -> dict[str, str]:
    """What a manifest says about the bytes of images and labels in a folder."""
    return {"images_sha256": file_sha256(folder / IMAGES), "labels_sha256": file_sha256(folder / LABELS)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of samples.

    Raises:
        ValueError: there is none, or the file is something else.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `python -m ddpm sample --out {folder}` writes it")
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError:  # neither JSON nor UTF-8
        manifest = None
    if not isinstance(manifest, dict) or not {*NUMBERS, *OF_A_PART, "sample", "shape"} <= set(manifest):
        raise ValueError(f"{path}: must be a manifest of `python -m ddpm sample`, got something else; draw again")
    return manifest
