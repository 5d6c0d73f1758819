"""The mathematics of diffusion: tensors in, tensors out. No net, no file, no configuration."""
