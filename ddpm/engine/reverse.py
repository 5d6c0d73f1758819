"""The reverse process of a checkpoint from any step on: from pure noise, or from images noised half the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS, State
from ddpm.diffusion.schedule import Schedule
from ddpm.engine.build import build_denoiser, build_settings
from ddpm.engine.checkpoint import Checkpoint
from ddpm.engine.device import memory_format
from ddpm.experiment.params import SampleParams
from ddpm.types import Images, Indices, Labels


@dataclass(frozen=True)
class Reverse:
    """A sampler over a net, with randomness addressed by image number.

    Attributes:
        net: x_t, t, labels -> output.
        schedule: on the device of the net.
        seed: of x_T and of the noise of every step.
    """

    checkpoint: Checkpoint
    sample: SampleParams
    net: Callable[..., Tensor]
    schedule: Schedule
    seed: int

    @property
    def device(self) -> torch.device:
        """Where the net is."""
        return self.schedule.signal_scale.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        height, width, channels = self.checkpoint.data.shape
        return channels, height, width

    def steps(self) -> list[float]:
        """The falling times of a whole trajectory, by `sample.spacing` and `sample.steps`; the last one is 0."""
        return SPACINGS[self.sample.spacing](self.schedule, self.sample.steps)

    def prior(self, index: Indices, purpose: str = "x_T") -> Images:
        """x_T of the images `index`: noise of the process's size at the first step."""
        scale = max(1.0, self.schedule.path(self.steps()[:1])[0].noise)  # not all spacings start at T
        return self._laid_out(scale * randomness.normal(self.seed, purpose, 0, index, self.shape))

    def noised(self, x0: Images, t: int, index: Indices, purpose: str = "eps") -> Images:
        """x_t of clean images; noise is a function of seed, purpose and index."""
        eps = randomness.normal(self.seed, purpose, 0, index, self.shape)
        return self._laid_out(q_sample(self.schedule, x0, torch.full((len(x0),), t, device=self.device), eps))

    def walk(
        self,
        x_t: Images,
        index: Indices,
        labels: Labels | None,
        t: float | None = None,
        purpose: str = "reverse noise",
    ) -> Iterator[State]:
        """From step t down to 0, over the steps of a whole trajectory that lie below t.

        Args:
            x_t: (batch, channels, height, width) at step t.
            index: (batch,), which images these are to the noise of the sampler.
            labels: (batch,) for a net with classes, else None.
            t: where x_t stands; None: at the first step of a trajectory.
            purpose: of the noise; another one gives another draw.
        """
        steps = self.steps()
        if t is not None:
            steps = [t, *(s for s in steps if s < t)]
        denoise = build_denoiser(
            self.net, self.schedule, self.checkpoint.objective, self.checkpoint.model, self.sample, labels
        )

        def noise(k: int) -> Images:
            return randomness.normal(self.seed, purpose, k, index, self.shape)

        settings = build_settings(self.sample)
        return SAMPLERS[self.sample.sampler](denoise, self.schedule, self._laid_out(x_t), steps, noise, settings)

    def _laid_out(self, x: Images) -> Images:
        return x.to(memory_format=memory_format(self.device, self.checkpoint.model.channels))
