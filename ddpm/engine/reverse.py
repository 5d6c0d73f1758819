"""The reverse process of a checkpoint from any step on: from pure noise, or from images noised half the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm import randomness
from ddpm.diffusion.denoiser import Denoiser
from ddpm.diffusion.process import q_sample
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.inpainting import inpaint
from ddpm.diffusion.samplers.steps import SPACINGS, Noise, State
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
        denoise, noise, settings = self._denoiser(labels), self._noise(index, purpose), build_settings(self.sample)
        return SAMPLERS[self.sample.sampler](denoise, self.schedule, self._laid_out(x_t), steps, noise, settings)

    def fill(
        self, x0: Images, known: Tensor, index: Indices, labels: Labels | None, passes: int = 1
    ) -> Iterator[State]:
        """From pure noise to images that are x0 where it is known, over the steps of a whole trajectory.

        The sampler is `inpaint`, whatever `sample.sampler` says.

        Args:
            x0: (batch, channels, height, width), in [-1, 1].
            known: bool, to be broadcast to x0.
            index: (batch,), which images these are to all noise.
            labels: (batch,) for a net with classes, else None.
            passes: at each step.
        """
        x_T, noise = self.prior(index, "inpainting: x_T"), self._noise(index, "inpainting: reverse noise")
        return inpaint(self._denoiser(labels), self.schedule, x_T, self.steps(), noise, x0, known, passes)

    def _denoiser(self, labels: Labels | None) -> Denoiser:
        objective, model = self.checkpoint.objective, self.checkpoint.model
        return build_denoiser(self.net, self.schedule, objective, model, self.sample, labels)

    def _noise(self, index: Indices, purpose: str) -> Noise:
        return lambda k: randomness.normal(self.seed, purpose, k, index, self.shape)

    def _laid_out(self, x: Images) -> Images:
        return x.to(memory_format=memory_format(self.device, self.checkpoint.model.channels))
