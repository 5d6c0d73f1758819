"""Samples for evaluation, our own or those of another program, as one array that all processes of a team map."""

from pathlib import Path

import numpy as np

from ddpm.data.foreign import ForeignImages, as_array
from ddpm.data.store import LazyImages
from ddpm.engine.distributed import Team
from ddpm.engine.rows import Tick
from ddpm.engine.seed0 import flipped, through_jpeg_grids
from ddpm.metrics.images import StoredImages

SEED0 = "seed0"
"""The extractor whose images are spoiled first, as seed system 0 spoils them."""


def sample_array(
    foreign: ForeignImages, count: int, features: str, work: Path, team: Team, tick: Tick
) -> tuple[StoredImages, str]:
    """The first `count` samples, and how they were stored.

    Under `seed0` they go through sheets of JPEG, unless they come from such sheets.

    Args:
        foreign: what was found at the place the user named.
        features: name of the extractor.
        work: folder for what is not an .npy file yet.
        tick: told how many images were read.
    """
    scratch, name = work / "samples.npy", foreign.format
    images = as_array(foreign, scratch, tick) if team.first else None
    team.wait()
    if images is None:
        images = (
            np.load(scratch, mmap_mode="r", allow_pickle=False) if scratch.is_file() else as_array(foreign, scratch)
        )
    if features == SEED0 and not name.startswith("jpeg grids"):
        return through_jpeg_grids(images[:count]), f"{name}, then jpeg grids"
    return images[:count], name


def real_images(images: LazyImages, features: str) -> LazyImages:
    """Real images as an extractor's reference wants them: mirrored by a coin under `seed0`, else as they are."""
    return flipped(images, np.arange(len(images))) if features == SEED0 else images
