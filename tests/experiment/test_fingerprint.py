"""Fingerprints change with what can change a result, and with nothing else."""

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddpm.digest import file_sha256
from ddpm.experiment.fingerprint import (
    code_digest,
    run_key,
    static_fingerprint,
    static_fingerprints,
    work_fingerprint,
)
from ddpm.experiment.stages import STAGES, ancestors

PARAMS = {
    section: {"number": index}
    for index, section in enumerate(sorted({s for stage in STAGES.values() for s in stage.sections}))
}
DVC_YAML = "stages:\n" + "".join(
    f"  {name}:\n    cmd: python -m ddpm {name}\n    deps: [code/{name}.py, code/shared, data/x.npy]\n"
    for name in STAGES
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "code/shared").mkdir(parents=True)
    (folder / "code/shared/all.py").write_text("a = 1\n")
    for name in STAGES:
        (folder / f"code/{name}.py").write_text(f"name = {name!r}\n")
    return folder


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(section=st.sampled_from(sorted(PARAMS)), value=st.integers(100, 200))
def test_a_parameter_changes_its_readers_and_what_is_below_them(root: Path, section: str, value: int):
    changed = deepcopy(PARAMS)
    changed[section]["number"] = value
    before, after = (static_fingerprints(params, root) for params in (PARAMS, changed))
    for name, stage in STAGES.items():
        touched = any(section in STAGES[other].sections for other in (name, *ancestors(name)))
        assert (before[name] != after[name]) == touched
        own = [work_fingerprint(name, p, [], root, "cpu") for p in (PARAMS, changed)]
        assert (own[0] != own[1]) == (section in stage.sections)
    assert run_key(PARAMS, root) != run_key(changed, root)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(sorted(PARAMS)))
def test_the_order_of_keys_does_not_matter(root: Path, order: list[str]):
    assert run_key({key: PARAMS[key] for key in order}, root) == run_key(PARAMS, root)


def test_code_of_one_stage_leaves_the_others_alone(root: Path):
    before = {name: code_digest(name, root) for name in STAGES}
    file = root / "code/evaluate.py"
    old = file.read_text()
    file.write_text("name = 'edited'\n")
    after = {name: code_digest(name, root) for name in STAGES}
    file.write_text(old)
    assert {name for name in STAGES if before[name] != after[name]} == {"evaluate"}


def test_folders_count_with_all_their_python_files_and_data_does_not(root: Path):
    before = code_digest("train", root)
    (root / "data").mkdir(exist_ok=True)
    (root / "data/x.npy").write_bytes(b"other data")
    assert code_digest("train", root) == before
    (root / "code/shared/new.py").write_text("")
    assert code_digest("train", root) != before
    (root / "code/shared/new.py").unlink()


def test_without_dvc_yaml_the_whole_package_counts(tmp_path: Path):
    assert code_digest("train", tmp_path) == code_digest("prepare", tmp_path)
    assert len(code_digest("train", tmp_path)) == 64


def test_unfinished_work_belongs_to_its_device(root: Path):
    assert work_fingerprint("train", PARAMS, [], root, "cpu") != work_fingerprint("train", PARAMS, [], root, "cuda")


def test_the_version_of_torch_counts(root: Path, monkeypatch: pytest.MonkeyPatch):
    before = static_fingerprint("train", PARAMS, root), work_fingerprint("train", PARAMS, [], root, "cpu")
    monkeypatch.setattr("ddpm.experiment.fingerprint.version", lambda _: "0.0")
    assert before[0] != static_fingerprint("train", PARAMS, root)
    assert before[1] != work_fingerprint("train", PARAMS, [], root, "cpu")


def test_input_bytes_count_and_names_and_times_do_not(root: Path, tmp_path: Path):
    first, second = tmp_path / "a.npy", tmp_path / "b.npy"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    before = work_fingerprint("train", PARAMS, [first], root, "cpu")
    assert before == work_fingerprint("train", PARAMS, [second], root, "cpu")
    second.write_bytes(b"two")
    assert before != work_fingerprint("train", PARAMS, [second], root, "cpu")


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    assert file_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages:\n  other: {cmd: x}\n", r"dvc.yaml: stages must hold `train`, got other; add it"),
        ("", r"dvc.yaml: stages must hold `train`, got none; add it"),
        ("stages:\n  train: {deps: [a.py]}\n", r"dvc.yaml: train.deps must be existing files, got a.py; correct"),
    ],
)
def test_a_dvc_yaml_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        code_digest("train", tmp_path)
