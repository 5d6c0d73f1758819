"""What figures are drawn from: a checkpoint, data, samples, a curve and metrics, each opened when it is first used."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm.data.store import Split, open_split
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.batches import to_images
from ddpm.engine.build import build_schedule
from ddpm.engine.checkpoint import Checkpoint, load_checkpoint
from ddpm.engine.device import memory_format
from ddpm.engine.reverse import Reverse
from ddpm.engine.sample import reverse_of
from ddpm.experiment.params import FiguresParams, SampleParams
from ddpm.metrics.statistics import Statistics, load_statistics
from ddpm.types import Images, Indices, Labels

Track = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Places:
    """The files that figures may read."""

    checkpoint: Path
    samples: Path
    data: Path
    curve: Path
    metrics: Path
    statistics: Path


@dataclass(frozen=True)
class Material:
    """Everything that a figure may ask for.

    Attributes:
        figures, sample: sections of the parameters.
        device: where nets run.
        track: wraps what a long figure loops over, for a progress bar: (things, what they are) -> things.
    """

    figures: FiguresParams
    sample: SampleParams
    places: Places
    device: torch.device
    track: Track = field(default=lambda things, what: things)  # noqa: ARG005

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The weights with their settings."""
        return load_checkpoint(self.places.checkpoint)

    @cached_property
    def schedule(self) -> Schedule:
        """The forward process of the checkpoint, on the CPU."""
        return build_schedule(self.checkpoint.schedule, torch.device("cpu"))

    @cached_property
    def train(self) -> Split:
        """The images that the net was trained on."""
        return open_split(self.places.data, "train")

    @cached_property
    def held_out(self) -> Split:
        """Images that it has not seen; of length 0 where none were held out."""
        return open_split(self.places.data, "valid")

    @cached_property
    def samples(self) -> NDArray[np.uint8]:
        """What was sampled, uint8 (images, height, width, channels).

        Raises:
            ValueError: there are none, or the file is damaged.
        """
        path = self.places.samples
        if not path.is_file():
            raise ValueError(f"{path}: no such samples; `python -m ddpm sample` makes them, or name some: --samples")
        try:
            images: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}: damaged array ({reason}); restore it with `dvc checkout`") from None
        return images

    @cached_property
    def curve(self) -> list[dict[str, str | float | None]]:
        """The rows of results/train.csv.

        Raises:
            ValueError: there is none.
        """
        path = self.places.curve
        if not path.is_file():
            raise ValueError(f"{path}: no such curve; `python -m ddpm train` writes it, or name one: --curve")
        with path.open(newline="") as file:
            return [dict(row) for row in csv.DictReader(file)]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """results/metrics.json.

        Raises:
            ValueError: there is none.
        """
        path = self.places.metrics
        if not path.is_file():
            raise ValueError(f"{path}: no such metrics; `python -m ddpm evaluate` writes them, or name some: --metrics")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    @cached_property
    def statistics(self) -> Statistics:
        """Statistics of the real images; they name the features in which samples are measured.

        Raises:
            ValueError: there are none, or they are damaged.
        """
        path = self.places.statistics
        if not path.is_file():
            raise ValueError(
                f"{path}: no such statistics; `python -m ddpm reference` makes them, or name some: --statistics"
            )
        return load_statistics(path)

    def reverse(self, seed: int | None = None, **changes: Any) -> Reverse:
        """The sampler of the section `sample` over the net, with some of its settings changed.

        Args:
            seed: of its randomness; None: figures.seed.
            changes: fields of `SampleParams`.
        """
        sample = SampleParams.model_validate({**self.sample.model_dump(), **changes})
        return reverse_of(self.checkpoint, sample, self.figures.seed if seed is None else seed, self.device)

    def numbers(self, count: int) -> Indices:
        """The image numbers 0..count - 1 on the device."""
        return torch.arange(count, device=self.device)

    def images(self, split: Split, numbers: Iterable[int]) -> tuple[Images, Labels | None]:
        """Some prepared images in [-1, 1] on the device, and their labels where the net has classes.

        Raises:
            ValueError: they are not like those of the checkpoint, or there are too few.
        """
        chosen, shape = np.fromiter(numbers, np.int64), self.checkpoint.data.shape
        if split.images.shape[1:] != shape:
            raise ValueError(
                f"{self.places.data}: must hold images of {shape} like those of the checkpoint, "
                f"got {split.images.shape[1:]}; name the data it was trained on with --data"
            )
        if chosen.max() >= len(split.images):
            raise ValueError(
                f"{self.places.data}: image {chosen.max()} is asked for, but there are {len(split.images)}"
            )
        pixels = torch.from_numpy(np.stack([np.asarray(split.images[i]) for i in chosen]))
        x0 = to_images(pixels, self.device, memory_format(self.device, self.checkpoint.model.channels))
        labels = torch.from_numpy(np.array(split.labels[chosen])).to(self.device)
        return x0, labels if self.checkpoint.model.num_classes else None

    def about(self, needs: Sequence[str]) -> dict[str, str]:
        """What a figure with these needs was made from, for the text chunks of its file."""
        about = {"ddpm.figures": self.figures.model_dump_json()}
        if "checkpoint" in needs:
            for section in ("schedule", "model", "objective"):
                about[f"ddpm.{section}"] = getattr(self.checkpoint, section).model_dump_json()
            about["ddpm.weights"] = f"step {self.checkpoint.step}, average {self.checkpoint.average}"
        if "sample" in needs:
            about["ddpm.sample"] = self.sample.model_dump_json()
        if "metrics" in needs:
            about["ddpm.metrics"] = headline(self.metrics)
        return about


def headline(metrics: dict[str, Any]) -> str:
    """`frechet_pixels@500 = 1.23`, for each distance that is not a floor."""
    distances = [name for name in metrics if name.startswith(("frechet", "fid")) and "_floor" not in name]
    return ", ".join(f"{name} = {metrics[name]['value']:.3g}" for name in distances)
