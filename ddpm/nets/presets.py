"""The networks of papers and of well-known code, as complete values of the section `model` of params.yaml.

A net is reproduced as far as the options go; what still differs is said beside it. Resolutions of attention hold at the
image size that is named; at another size they are to be changed, or the rules refuse them.
"""

from typing import TypeAlias

Setting: TypeAlias = "int | float | bool | str | list[int]"

# Ho et al. (2020), appendix B, for CIFAR-10 at 32 px: 35,746,307 parameters.
HO: dict[str, Setting] = {
    "channels": 128,
    "multipliers": [1, 2, 2, 2],
    "blocks": 2,
    "attention": [16],
    "linear_attention": [],
    "heads": 1,
    "head_channels": 0,
    "dropout": 0.1,
    "num_classes": 0,
    "conditioning": "add",
    "resample": "conv",
    "rescale_residuals": False,
    "attention_norm": True,
    "stem_norm": False,
    "time_features": "sinusoid",
    "stem": 3,
    "padding": "zeros",
    "downsample_padding": "asymmetric",
    "norm_eps": 1e-6,
}

# What reimplementations in PyTorch usually change: padding on all sides, and PyTorch's own eps.
PYTORCH: dict[str, Setting] = HO | {"downsample_padding": "symmetric", "norm_eps": 1e-5}

# KimRass, "DDPM" (code of November 2023): 35,746,307 parameters; attention at the second level at every image size.
KIMRASS: dict[str, Setting] = PYTORCH | {"time_features": "vaswani"}

# Binh, "AI-ML", after the DDPM guide of LearnOpenCV (2023): four heads. Its norms have 8 groups and its dropout drops
# whole channels; neither changes the number of parameters.
BINH: dict[str, Setting] = PYTORCH | {"heads": 4}

PRESETS: dict[str, dict[str, Setting]] = {
    "ho-cifar10": HO,
    # Song et al. (2021), DDIM, the authors' configuration for CelebA at 64 px: 78,700,803 parameters.
    "ddim-celeba64": HO | {"multipliers": [1, 2, 2, 2, 4]},
    # Ho et al. (2020), appendix B, for CelebA-HQ and LSUN at 256 px: 113,673,219 parameters.
    "ho-256": HO | {"multipliers": [1, 1, 2, 2, 4, 4], "dropout": 0.0},
    # Dhariwal & Nichol (2021), ADM for ImageNet at 64 px: with its 1000 labels and learned variance 295.9 M parameters.
    "adm-64": PYTORCH
    | {
        "channels": 192,
        "multipliers": [1, 2, 3, 4],
        "blocks": 3,
        "attention": [32, 16, 8],
        "head_channels": 64,
        "conditioning": "scale-shift",
        "resample": "residual",
        "time_features": "vaswani",
    },
    "kimrass-32": KIMRASS,
    "kimrass-64": KIMRASS | {"attention": [32]},
    # Brenningmeyer, "diffusion" (CIFAR-10 at 32 px): 35,743,491 parameters.
    "brenningmeyer-32": KIMRASS
    | {"rescale_residuals": True, "attention_norm": False, "stem_norm": True, "dropout": 0.0},
    "binh-32": BINH | {"channels": 64, "multipliers": [1, 2, 4, 4], "attention": [16, 8]},
    "binh-64": BINH | {"multipliers": [1, 2, 2, 4], "attention": [16, 8]},
    "binh-128": BINH | {"multipliers": [1, 2, 2, 4, 4]},
    "binh-256": BINH | {"multipliers": [1, 2, 2, 4, 4, 4]},
    # aiiplab, "generative_pytorch" (MNIST at 28 px): attention in the middle only. Its queries, keys and values have no
    # bias (24,514,817 parameters there, 24,515,585 here), and its scores are 100 times as steep.
    "aiiplab-28": PYTORCH
    | {"multipliers": [1, 2, 2], "attention": [], "heads": 4, "dropout": 0.0, "time_features": "vaswani"},
    # Wang (lucidrains), "denoising-diffusion-pytorch", at 64 px: linear attention, full attention innermost, a wide
    # stem. 35.7 M parameters there: one attention a level, always 4 heads of 32 channels, two blocks a level on the way
    # up, and the width grows with the downsampling. 65,071,043 here: attention after every block, heads that fill the
    # width, three blocks a level on the way up, and the width grows in the first block of a level.
    "lucidrains-64": PYTORCH
    | {
        "channels": 64,
        "multipliers": [1, 2, 4, 8],
        "attention": [8],
        "linear_attention": [64, 32, 16],
        "head_channels": 32,
        "dropout": 0.0,
        "conditioning": "scale-shift",
        "stem": 7,
    },
}
"""Settings by name: who, and the image size (or data set) they are for."""
