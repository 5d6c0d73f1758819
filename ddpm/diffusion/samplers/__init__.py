"""One file per sampler; all take the same denoiser and yield a `State` per step, so that the caller saves and shows."""

from ddpm.diffusion.samplers.ddim import ddim
from ddpm.diffusion.samplers.ddpm import ddpm
from ddpm.diffusion.samplers.steps import Sampler

SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim}
"""sample.sampler -> its loop."""
