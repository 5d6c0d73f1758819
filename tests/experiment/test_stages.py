"""The table of stages is a graph in order, and agrees with the parameter file."""

import pytest

from ddpm.experiment.params import Params
from ddpm.experiment.stages import STAGES, Stage, ancestors


def test_names_are_the_keys_in_the_order_of_the_pipeline():
    assert list(STAGES) == ["prepare", "reference", "train", "sample", "evaluate", "figures"]
    assert all(stage.name == name for name, stage in STAGES.items())


def test_every_stage_comes_after_its_upstream():
    order = list(STAGES)
    for stage in STAGES.values():
        assert all(order.index(parent) < order.index(stage.name) for parent in stage.upstream)


def test_sections_exist_and_every_section_is_read():
    read = {section for stage in STAGES.values() for section in stage.sections}
    assert read == set(Params.model_fields)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_inputs_are_outputs_of_the_direct_upstream(stage: Stage):
    written = {path for parent in stage.upstream for path in STAGES[parent].outputs}
    assert set(stage.inputs) <= written


def test_no_file_has_two_makers():
    files = [path for s in STAGES.values() for path in (*s.outputs, s.numbers, s.curve, s.figures) if path]
    assert len(files) == len(set(files))
    assert not any(path.is_absolute() for path in files)


def test_ancestors_are_transitive_and_ordered():
    assert ancestors("prepare") == ()
    assert ancestors("sample") == ("prepare", "train")
    assert ancestors("figures") == ("prepare", "reference", "train", "sample", "evaluate")
