"""The parameter file: every rule, its message, and agreement with DVC's parser and the tables in the code."""

from pathlib import Path
from typing import get_args

import pytest
from dvc.utils.serialize import parse_yaml

from ddpm.diffusion.process import TARGETS
from ddpm.diffusion.samplers import SAMPLERS
from ddpm.diffusion.samplers.steps import SPACINGS
from ddpm.diffusion.schedule import SCHEDULES
from ddpm.experiment import params_file as P
from ddpm.experiment.params import Params, section_type

QUICK = Path(__file__).parents[2] / "pipeline" / "recipes" / "quick.yaml"


def problems_of(*overrides: str) -> list[str]:
    with pytest.raises(ValueError, match=r"must|not|missing|no parameter") as caught:
        P.load(QUICK, overrides)
    return str(caught.value).splitlines()


ZERO_SNR = ["schedule.zero_terminal_snr=true", "objective.target=v"]
REFUSED = [
    (["schedule.beta_T=1.5"], "quick.yaml: schedule.beta_T must be in (beta_1, 1), got 1.5"),
    (["schedule.beta_T=0.00001"], "schedule.beta_T must be in (beta_1, 1), got 1e-05 with beta_1 0.0001"),
    (["train.steps=ten"], "train.steps must be a valid integer, got 'ten'"),
    (["train.steps=1.5"], "train.steps must be a valid integer, got 1.5"),
    (["train.flip=1"], "train.flip must be a valid boolean, got 1"),
    (["train.learning_rate=.nan"], "train.learning_rate must be a finite number, got nan"),
    (["sample.sampler=ddimm"], "'euler-maruyama' or 'predictor-corrector', got 'ddimm'"),
    (["sample.churn_interval=[1]"], "sample.churn_interval must have at least 2 items, got [1]"),
    (["sample.churn_interval=[2, 1]"], "sample.churn_interval must rise from a number of at least 0, got [2, 1]"),
    (["sample.guidance_interval=[-1, 1]"], "sample.guidance_interval must rise from a number of at least 0"),
    (["sample.dynamic_threshold=0.9"], "sample.dynamic_threshold must be 0 when sample.clip_x0 is true, got 0.9"),
    (
        ["sample.variance=learned"],
        "sample.variance must be fixed_large or fixed_small when objective.variance is fixed",
    ),
    (["objective.variance=learned"], "objective.vlb_weight must be positive when objective.variance is learned"),
    (["objective.vlb_weight=0.1"], "objective.vlb_weight must be 0 when objective.variance is fixed, got 0.1"),
    (
        ["objective.variance=learned", "objective.weighting=vlb", "objective.vlb_weight=0.1"],
        "objective.vlb_weight must be 0 when objective.weighting is vlb (it would count the bound twice), got 0.1",
    ),
    (["schedule.rescale=true", "schedule.T=20"], "schedule.rescale must be false where beta_T * 1000 / T is not below"),
    (["schedule.sigma_max=0.001"], "schedule.sigma_max must exceed sigma_min = 0.01, got 0.001"),
    (["schedule.zero_terminal_snr=true"], "objective.target must be v or x0 when schedule.zero_terminal_snr is true"),
    (
        [*ZERO_SNR, "sample.sampler=ode"],
        "sample.sampler must be one of ddpm, ddim, dpmpp-2m, dpmpp-2m-sde, unipc, euler, heun",
    ),
    ([*ZERO_SNR, "sample.spacing=karras"], "sample.spacing must not be karras when schedule.zero_terminal_snr is true"),
    ([*ZERO_SNR, "schedule.process=vp"], "schedule.zero_terminal_snr must be false for the process vp, got true"),
    (["schedule.process=ve", "objective.weighting=vlb"], "objective.weighting must be another one for continuous time"),
    (["schedule.process=ve", "objective.variance=learned"], "objective.variance must be another one for continuous"),
    (["schedule.process=vp", "objective.time_sampling=importance"], "objective.time_sampling must be another one for"),
    (["model.attention=[3]"], "model.attention must list resolutions that the image reaches [16, 8, 4], got 3"),
    (["model.channels=48"], "model.channels must be divisible by the 32 norm groups, got 48"),
    (["model.heads=3"], "model.heads must divide the width of every attention, got 3 for 64 channels"),
    (
        ["model.head_channels=48"],
        "model.head_channels must divide the width of every attention, got 48 for 64 channels",
    ),
    (["model.linear_attention=[3]"], "model.linear_attention must list resolutions that the image reaches [16, 8, 4]"),
    (["model.linear_attention=[8, 4]"], "model.linear_attention must not list a resolution of model.attention, got 4"),
    (
        ["data.image_size=18", "model.attention=[]"],
        "data.image_size must be divisible by 4 for 3 model.multipliers, got 18",
    ),
    (["data.image_width=18"], "data.image_width must be divisible by 4 for 3 model.multipliers, got 18"),
    (["data.image_width=2"], "data.image_width must be 0 (square) or at least 4, got 2"),
    (["data.image_width=32"], "data.image_width must be 0 for digits, got 32"),
    (
        ["data.image_width=32", "model.attention=[32]"],
        "model.attention must list resolutions that the image reaches [16, 8, 4], got 32",
    ),
    (["model.multipliers=[1, 0]", "model.attention=[]"], "model.multipliers must be at least 1 each, got [1, 0]"),
    (["data.labels=none"], "data.labels must name labels when model.num_classes is 10, got none"),
    (["model.num_classes=3"], "model.num_classes must be 0 or 10 for digits, got 3"),
    (["data.crop=ddim-128"], "data.crop must not be a CelebA crop for digits, got ddim-128"),
    (["data.crop=squash"], "data.crop must be none for digits, got squash"),
    (["data.channels=3"], "data.channels must be 1 for digits, got 3"),
    (["data.valid_split=none"], "train.valid_every must be 0 when data.valid_split is none, got 50"),
    (["data.valid_split=none"], "evaluate.floor must be false when data.valid_split is none, got true"),
    (["reference.split=valid"], "evaluate.floor must be false when reference.split is valid"),
    (["reference.split=valid"], "evaluate.metrics must not list memorization without held-out images"),
    (["evaluate.metrics=[kid, kid]"], "evaluate.metrics must name each metric once, got ['kid', 'kid']"),
    (["evaluate.metrics=[inception-score]"], "unless reference.features is inception, got pixels"),
    (["evaluate.kid_images=501"], "evaluate.kid_images must be at most evaluate.num_images = 500, got 501"),
    (["evaluate.interval_groups=1"], "evaluate.interval_groups must be 0 or from 2 to half of evaluate.num"),
    (["evaluate.curve_points=2"], "evaluate.curve_points must be 0 or from 3 to a tenth of evaluate.num_images = 500"),
    (["evaluate.curve_points=51"], "evaluate.curve_points must be 0 or from 3 to a tenth"),
    (["evaluate.protocol=ddim-128"], "data.source must be celeba for evaluate.protocol ddim-128 (own takes anything)"),
    (["evaluate.protocol=squash"], "reference.features must be inception or pytorch-fid for evaluate.protocol squash"),
    (["evaluate.protocol=seed0"], "data.train_split must be all for evaluate.protocol seed0 (own takes anything)"),
    (["reference.features=seed0"], "evaluate.protocol must be seed0 for these reference.features, got own"),
    (["model.num_classes=0"], "objective.label_dropout must be 0 for an unconditional model, got 0.1"),
    (["objective.label_dropout=0"], "sample.guidance_scale must be 1 when objective.label_dropout is 0"),
    (["sample.steps=2000"], "sample.steps must be at most schedule.T = 1000, got 2000"),
    (["evaluate.num_images=501"], "evaluate.num_images must be at most sample.num_images = 500, got 501"),
    (["figures.grid_rows=51"], "figures.grid_rows * grid_columns must be at most sample.num_images = 500, got 510"),
    (["figures.strip_columns=60"], "figures.strip_columns must be at most sample.steps + 1"),
    (["train.valid_every=15"], "train.valid_every must be a multiple of train.log_every = 10, got 15"),
    (["train.choose=best", "train.valid_every=0"], "train.valid_every must be positive when train.choose is best"),
    (["train.steps=0"], "exactly one must be positive, the others 0, got steps 0, images 0, epochs 0"),
    (["train.epochs=3"], "exactly one must be positive, the others 0, got steps 600, images 0, epochs 3"),
    (["train.ema_decays=[]"], "train.ema_decays must name at least one average, or train.ema_widths must, got []"),
    (["train.ema_decays=[1.0]"], "train.ema_decays must be in [0, 1), got 1"),
    (["train.ema_decays=[0.9, 0.9]"], "train.ema_decays must differ from each other, got [0.9, 0.9]"),
    (["train.ema_widths=[0.3]"], "train.ema_widths must be in (0, 0.28), got 0.3"),
    (["train.betas=[0.9, 1.0]"], "train.betas must be in [0, 1), got [0.9, 1.0]"),
    (["train.weight_decay=0.1"], "train.weight_decay must be 0 for adam, got 0.1; adamw has one"),
    (["train.devices=0"], "train.devices must be auto or a number of at least 1, got 0"),
    (["train.devices=all"], "train.devices must be auto or a number of at least 1, got all"),
    (["train.devices=3"], "train.batch must be divisible by devices * accumulate = 3, got 64"),
    (["train.accumulate=3"], "train.batch must be divisible by accumulate = 3, got 64"),
    (["train.cuda_graphs=true"], "train.cuda_graphs must be false when train.compile is false, got true"),
    (
        ["train.parallel=fsdp", "train.precision=fp16"],
        "train.precision must be bf16 or float32 when train.parallel is fsdp",
    ),
    (["train.preview_steps=2000"], "train.preview_steps must be at most schedule.T = 1000, got 2000"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_every_refusal_names_place_rule_and_value(overrides, message):
    assert any(message in line for line in problems_of(*overrides))


def test_all_problems_are_reported_at_once_one_line_each():
    lines = problems_of("train.steps=ten", "schedule.beta_T=0.00001", "model.attention=[3]", "data.image_size=many")
    assert len(lines) == 3  # the attention rule needs data.image_size and stays silent
    assert all(line.startswith("quick.yaml: ") for line in lines)


def test_a_typo_is_answered_with_the_right_name():
    assert problems_of("schedule.betaT=1") == [
        "-S schedule.betaT=1: there is no parameter schedule.betaT; did you mean schedule.beta_T?"
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("  T: 1000\n", ""), "schedule.T is missing"),
        (
            ("  T: 1000\n", "  T: 1000\n  betaT: 1\n"),
            "schedule.betaT is not a parameter; did you mean schedule.beta_T?",
        ),
        (("schedule:", "shedule:"), "shedule is not a parameter; did you mean the section `schedule`?"),
        (("  T: 1000\n", "  T: 1000\n  T: 10\n"), "not valid YAML: found duplicate key"),
        (("  T: 1000\n", "  T: [1\n"), "not valid YAML"),
    ],
)
def test_edited_files_are_refused_with_the_place(tmp_path, edit, message):
    path = tmp_path / "params.yaml"
    text = QUICK.read_text().replace(*edit)
    assert text != QUICK.read_text()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"params.yaml") as caught:
        P.load(path)
    assert message in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(ValueError, match="no such parameter file; write one with `python -m ddpm recipe quick`"):
        P.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("width", "shape", "size"), [(0, (16, 16, 1), 16), (16, (16, 16, 1), 16), (32, (16, 32, 1), [16, 32])]
)
def test_an_image_is_square_unless_its_width_is_said(width, shape, size):
    data = P.load(QUICK).data.model_copy(update={"image_width": width})
    assert (data.shape, data.size) == (shape, size)


@pytest.mark.parametrize("value", ["1e-05", "1e-5", "0.00001", "1.0e-05"])
def test_numbers_as_dvc_writes_them_are_numbers(value):
    assert P.load(QUICK, [f"train.learning_rate={value}"]).train.learning_rate == 1e-5


def test_the_file_is_read_as_dvc_reads_it():
    assert P.read(QUICK) == parse_yaml(QUICK.read_text(), str(QUICK))


def test_changing_a_recipe_keeps_its_comments():
    text = P.override_text(QUICK.read_text(), ["train.steps=7"])
    assert "steps: 7" in text
    assert text.count("#") == QUICK.read_text().count("#")


def test_nothing_has_a_default():
    for name in Params.model_fields:
        assert all(field.is_required() for field in section_type(name).model_fields.values())


def test_choices_agree_with_the_tables_of_the_code():
    def choices(section, field):
        return set(get_args(section_type(section).model_fields[field].annotation))

    from ddpm.data.crops import CROPS
    from ddpm.data.sources import SOURCES
    from ddpm.engine.measure import METRICS
    from ddpm.experiment.protocols import PROTOCOLS
    from ddpm.metrics.features import EXTRACTORS

    metrics = section_type("evaluate").model_fields["metrics"].annotation
    assert set(get_args(get_args(metrics)[0])) == set(METRICS)
    assert choices("evaluate", "protocol") == {"own", *PROTOCOLS}
    assert {name for protocol in PROTOCOLS.values() for name in protocol.features} <= set(EXTRACTORS)
    assert choices("schedule", "kind") == set(SCHEDULES)
    assert choices("objective", "target") == set(TARGETS)
    assert choices("sample", "sampler") == set(SAMPLERS)
    assert choices("sample", "spacing") == set(SPACINGS)
    assert choices("reference", "features") == set(EXTRACTORS)
    assert choices("data", "source") == set(SOURCES)
    assert choices("data", "crop") == set(CROPS)


def test_a_changed_list_stays_on_its_line():
    text = P.override_text(QUICK.read_text(), ["model.multipliers=[1, 2, 4]"])
    assert "  multipliers: [1, 2, 4]\n" in text
