"""Rules between the parameters of evaluation and others: what no single field can know."""

from collections.abc import Callable

from ddpm.experiment.params import DataParams, EvaluateParams, ReferenceParams
from ddpm.experiment.protocols import PROTOCOLS


def protocol_is_kept(data: DataParams, reference: ReferenceParams, evaluate: EvaluateParams) -> list[str]:
    """A name that others know is given to nothing else."""
    name = evaluate.protocol
    protocol = PROTOCOLS.get(name)
    if protocol is None:
        return ["evaluate.protocol must be seed0 for these reference.features, got own"] * (
            reference.features == "seed0"
        )
    demanded = {
        "data.source": (data.source, (protocol.source,)),
        "data.crop": (data.crop, (protocol.crop,)),
        "data.resample": (data.resample, ("crop",)),
        "data.train_split": (data.train_split, (protocol.split,)),
        "reference.split": (reference.split, ("train",)),
        "reference.features": (reference.features, protocol.features),
    }
    return [
        f"{key} must be {' or '.join(allowed)} for evaluate.protocol {name} (own takes anything), got {got}"
        for key, (got, allowed) in demanded.items()
        if got not in allowed
    ]


def metrics_can_be_computed(data: DataParams, reference: ReferenceParams, evaluate: EvaluateParams) -> list[str]:
    """Each metric has the features and the images that it needs; the finer settings have room in the count."""
    lines, metrics, count = [], evaluate.metrics, evaluate.num_images
    if len(set(metrics)) < len(metrics):
        lines.append(f"evaluate.metrics must name each metric once, got {metrics}")
    if "inception-score" in metrics and reference.features != "inception":
        lines.append(
            "evaluate.metrics must not list inception-score unless reference.features is inception, got "
            f"{reference.features}"
        )
    if "memorization" in metrics and (reference.split != "train" or data.valid_split == "none"):
        lines.append(
            "evaluate.metrics must not list memorization without held-out images beside a reference of training images "
            f"(data.valid_split, reference.split), got {data.valid_split}, {reference.split}"
        )
    if "kid" in metrics and evaluate.kid_images > count:
        lines.append(f"evaluate.kid_images must be at most evaluate.num_images = {count}, got {evaluate.kid_images}")
    if evaluate.interval_groups == 1 or evaluate.interval_groups > count // 2:
        lines.append(
            "evaluate.interval_groups must be 0 or from 2 to half of evaluate.num_images = "
            f"{count}, got {evaluate.interval_groups}"
        )
    if evaluate.curve_points in {1, 2} or evaluate.curve_points > count // 10:
        lines.append(
            "evaluate.curve_points must be 0 or from 3 to a tenth of evaluate.num_images = "
            f"{count}, got {evaluate.curve_points}"
        )
    return lines


EVALUATION: tuple[Callable[..., list[str]], ...] = (protocol_is_kept, metrics_can_be_computed)
"""A rule names the sections that it compares as its arguments."""
