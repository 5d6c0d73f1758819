"""What fewer steps cost: the distance of a checkpoint's images for several samplers and numbers of steps."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from ddpm.data.store import LazyImages
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.choose import Protocol, draw_and_compare
from ddpm.engine.distributed import alone
from ddpm.engine.evaluate import distance, require_comparable
from ddpm.engine.features import image_set, stored_features
from ddpm.engine.sample import require_settings
from ddpm.experiment.params import SampleParams
from ddpm.metrics import record


class Point(NamedTuple):
    """One measurement.

    Attributes:
        nfe: how often the net saw each image; guidance's two passes are two.
        record: of the distance, as `metrics.json` would hold it.
    """

    sampler: str
    steps: int
    nfe: float
    record: dict[str, Any]


def require_all(
    checkpoint: Checkpoint, protocol: Protocol, settings: Sequence[SampleParams], device: torch.device
) -> None:
    """Refuse what cannot be measured, before anything is drawn.

    Raises:
        ValueError: settings that do not fit the checkpoint, or images that do not fit the reference.
    """
    for sample in settings:
        require_settings(checkpoint, sample, device)
        require_comparable((sample.num_images, *checkpoint.data.shape), None, protocol.statistics, protocol.extractor)


def measure_setting(checkpoint: Checkpoint, protocol: Protocol, device: torch.device) -> Point:
    """Draw the images of `protocol.sample` and measure them; they themselves are not kept."""
    with TemporaryDirectory() as folder:
        found, drawn = draw_and_compare(checkpoint, protocol, Path(folder), alone(device), _silent)
    return Point(protocol.sample.sampler, protocol.sample.steps, drawn.nfe, found)


def measure_real(images: LazyImages, protocol: Protocol, device: torch.device) -> dict[str, Any]:
    """The record of the same distance for real images: what a perfect sampler would get.

    Args:
        images: at least two, that the reference is not of.
    """
    some = image_set(images)
    require_comparable(images.shape, None, protocol.statistics, protocol.extractor)
    about = record.Protocol(protocol.name, "prepared npy", some.sha256, protocol.reference_sha256)
    with TemporaryDirectory() as folder:
        rows = stored_features(some, protocol.extractor, protocol.batch, Path(folder), "real", alone(device), _silent)
        return distance(rows, protocol.statistics, protocol.extractor, about)


def _silent(num_images: int) -> None:
    """A point is the unit of progress, not an image."""
