"""The page by its command, and what the stages note for it."""

import json
from pathlib import Path

from ddpm.experiment.stages import STAGES


def test_a_run_leaves_its_timings_and_a_page(done: Path, ddpm, monkeypatch):
    for stage in STAGES:
        record = json.loads((done / "work/timings" / f"{stage}.json").read_text())
        assert record["seconds"] >= 0
        assert record["device"] == "cpu"
        assert record["params"]["train"]["steps"] == 4
    out = done / "work/page.html"
    result = ddpm("report", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert f"{out}: " in result.stdout
    html = out.read_text()
    assert "Not run here with these parameters" not in html
    assert html.count('<td class="short">cpu</td>') == len(STAGES)
    assert html.count("<figure ") == len(list((done / "results/figures").glob("*.png"))) + 1  # and the previews


def test_a_run_on_other_files_leaves_no_timing(project: Path, ddpm):
    assert ddpm("prepare", "--out", "elsewhere").exit_code == 0
    assert not (project / "work/timings").exists()


def test_without_parameters_it_is_refused_in_one_line(tmp_path: Path, ddpm, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(ddpm("report"), "params.yaml: no such parameter file; write one with `python -m ddpm recipe quick`")
    assert not (tmp_path / "results/report.html").exists()
