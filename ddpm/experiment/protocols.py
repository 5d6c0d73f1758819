"""Published ways of measuring: numbers compare only where all of this agrees (docs/evaluation.md)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """What `evaluate.protocol` demands of the other parameters.

    Attributes:
        source: the data set.
        crop: of its photographs.
        split: whose images are the reference.
        features: extractors that papers of this protocol have used.
        who: where it comes from.
    """

    source: str
    crop: str
    split: str
    features: tuple[str, ...]
    who: str


CANONICAL = ("inception", "pytorch-fid")
PROTOCOLS = {
    "ddim-128": Protocol(
        "celeba", "ddim-128", "train", CANONICAL, "DDIM (inception); PNDM, DPM-Solver, U-ViT (pytorch-fid)"
    ),
    "scoresde-140": Protocol("celeba", "scoresde-140", "train", CANONICAL, "score_sde, Soft Truncation, Min-SNR"),
    "squash": Protocol("celeba", "squash", "all", CANONICAL, "DDPM-IP"),
    "cifar10-train": Protocol("cifar10", "none", "train", CANONICAL, "Ho et al., EDM (inception)"),
    "seed0": Protocol("celeba", "short-side", "all", ("seed0",), "KimRass/DDPM, its defects included; gives fid_seed0"),
}
"""Name -> protocol. `own` is the name of everything else, and demands nothing."""
