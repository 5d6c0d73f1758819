"""One file per sampler; all take the same denoiser and yield a `State` per step, so that the caller saves and shows."""

from ddpm.diffusion.samplers.ddim import ddim
from ddpm.diffusion.samplers.ddpm import ddpm
from ddpm.diffusion.samplers.dpm_solver import dpmpp_2m, dpmpp_2m_sde
from ddpm.diffusion.samplers.edm import euler, heun
from ddpm.diffusion.samplers.ode import ode
from ddpm.diffusion.samplers.sde import euler_maruyama, predictor_corrector
from ddpm.diffusion.samplers.steps import Sampler
from ddpm.diffusion.samplers.unipc import unipc

SAMPLERS: dict[str, Sampler] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "dpmpp-2m": dpmpp_2m,
    "dpmpp-2m-sde": dpmpp_2m_sde,
    "euler": euler,
    "euler-maruyama": euler_maruyama,
    "heun": heun,
    "ode": ode,
    "predictor-corrector": predictor_corrector,
    "unipc": unipc,
}
"""sample.sampler -> its loop."""
