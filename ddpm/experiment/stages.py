"""The six stages: what each reads and writes, in the order in which the data flows.

dvc.yaml is the only wiring that decides what runs. This table says the same to the code that mirrors runs and names
unfinished work; `pipeline/audit` compares the two. All paths are relative to the project root.
"""

from dataclasses import dataclass
from pathlib import Path

PREPARED = Path("data/prepared")
MANIFEST = PREPARED / "manifest.json"
_TRAIN, _VALID = PREPARED / "train.npy", PREPARED / "valid.npy"
_LABELS = (PREPARED / "train_labels.npy", PREPARED / "valid_labels.npy")
_STATISTICS = Path("data/reference/statistics.npz")
_FEATURES = Path("data/reference/statistics_features.npy")
_WEIGHTS = Path("data/weights/ema.safetensors")
_AVERAGES = Path("data/weights/averages")
_SAMPLES = tuple(Path("data/samples") / name for name in ("images.npy", "labels.npy", "manifest.json"))


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        sections: the sections of params.yaml it reads.
        upstream: the stages whose outputs it reads, directly.
        inputs, outputs: data files (DVC outs), not the small results.
        numbers: its JSON file of numbers, or None.
        curve: its CSV file with a `step` column, or None.
        figures: its folder of pictures, or None.
    """

    name: str
    sections: tuple[str, ...]
    upstream: tuple[str, ...]
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    numbers: Path | None = None
    curve: Path | None = None
    figures: Path | None = None


_ORDERED = (
    Stage(
        name="prepare",
        sections=("data",),
        upstream=(),
        inputs=(),  # the raw files lie under the root, see data/README.md
        outputs=(_TRAIN, _VALID, *_LABELS, MANIFEST),
        numbers=Path("results/prepare.json"),
    ),
    Stage(
        name="reference",
        sections=("reference",),
        upstream=("prepare",),
        inputs=(_TRAIN, _VALID, MANIFEST),
        outputs=(_STATISTICS, _FEATURES),
        numbers=Path("results/reference.json"),
    ),
    Stage(
        name="train",
        sections=("data", "schedule", "model", "objective", "train"),
        upstream=("prepare",),
        inputs=(_TRAIN, _VALID, *_LABELS),
        outputs=(_WEIGHTS, _AVERAGES),
        numbers=Path("results/train.json"),
        curve=Path("results/train.csv"),
        figures=Path("results/previews"),
    ),
    Stage(
        name="sample",
        sections=("sample",),
        upstream=("train",),
        inputs=(_WEIGHTS,),
        outputs=_SAMPLES,
        numbers=Path("results/sample.json"),
    ),
    Stage(
        name="evaluate",
        sections=("evaluate",),
        upstream=("prepare", "reference", "sample"),
        inputs=(_VALID, _STATISTICS, _FEATURES, _SAMPLES[0]),
        outputs=(),
        numbers=Path("results/metrics.json"),
    ),
    Stage(
        name="figures",
        sections=("figures", "sample"),
        upstream=("prepare", "reference", "train", "sample", "evaluate"),
        inputs=(_TRAIN, _VALID, *_LABELS, MANIFEST, _STATISTICS, _FEATURES, _WEIGHTS, _SAMPLES[0]),
        outputs=(),
        figures=Path("results/figures"),
    ),
)

STAGES: dict[str, Stage] = {stage.name: stage for stage in _ORDERED}


def ancestors(name: str) -> tuple[str, ...]:
    """Every stage that has to be done before `name`, in the order of the table."""
    direct = STAGES[name].upstream
    above = set(direct).union(*(ancestors(parent) for parent in direct))
    return tuple(stage for stage in STAGES if stage in above)
