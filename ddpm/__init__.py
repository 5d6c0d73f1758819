"""Denoising diffusion probabilistic models whose every number can be made again."""

__version__ = "0.1.0"
