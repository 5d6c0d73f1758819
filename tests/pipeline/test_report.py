"""Experiments side by side, from what `dvc exp show --json` prints."""

from typing import Any

from pipeline import report


def row(rev: str, name: str | None, beta: float, fid: float | None) -> dict[str, Any]:
    metrics = (
        {}
        if fid is None
        else {"results/metrics.json": {"data": {"frechet_pixels": {"dims": 64, "split": "a", "value": fid}}}}
    )
    params = {"params.yaml": {"data": {"schedule": {"T": 1000, "beta_T": beta}, "model": {"multipliers": [1, 2]}}}}
    return {"rev": rev, "name": name, "data": {"params": params, "metrics": metrics}, "experiments": None}


SHOWN = [
    row("workspace", None, 0.02, 1.25),
    {
        **row("0123456789abcdef", "main", 0.02, 1.25),
        "experiments": [
            {"revs": [row("f" * 40, "beta", 0.03, 1.123456789)], "name": "beta"},
            {"revs": [row("e" * 40, None, 0.01, None)], "name": None},
            {"revs": [{"rev": "d" * 40, "name": "queued", "data": None}], "name": "queued"},
            {"revs": None, "name": "failed"},
        ],
    },
]
TABLE = [
    ["", "workspace", "main", "beta", "eeeeeee"],
    ["schedule.beta_T", "0.02", "0.02", "0.03", "0.01"],
    ["metrics.frechet_pixels.dims", "64", "64", "64", "-"],
    ["metrics.frechet_pixels.value", "1.25", "1.25", "1.12346", "-"],
]


def test_only_differing_parameters_and_numbers_are_shown():
    columns = report.experiments(SHOWN)
    assert report.table(columns) == TABLE
    assert [row[0] for row in report.table(columns[:3])] == ["", "schedule.beta_T", "metrics.frechet_pixels.value"]


def test_text_is_aligned():
    lines = report.as_text(TABLE).splitlines()
    assert lines[1] == "schedule.beta_T                    0.02  0.02     0.03     0.01"
    assert len({len(line) for line in lines}) == 1


def test_markdown():
    assert report.as_markdown(TABLE[:2]) == (
        "|  | workspace | main | beta | eeeeeee |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| schedule.beta_T | 0.02 | 0.02 | 0.03 | 0.01 |"
    )


def test_a_study_without_experiments_has_a_table():
    rows = report.table(report.experiments(SHOWN[:1]))
    assert rows == [["", "workspace"], ["metrics.frechet_pixels.dims", "64"], ["metrics.frechet_pixels.value", "1.25"]]
