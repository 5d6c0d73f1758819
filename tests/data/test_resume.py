"""Preparing that was stopped goes on: the same bytes as if it had never been, and nothing of other files is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddpm.engine import growing
from ddpm.engine.prepare import prepare as prepare_in
from ddpm.experiment.params import DataParams

pytestmark = pytest.mark.filterwarnings("ignore:.*not the published file")
Celeba = Callable[..., Path]
Params = Callable[..., DataParams]


def prepare(data: DataParams, raw: Path, out: Path, **options: Any) -> dict[str, Any]:
    """With a folder of unfinished work of its own, as each set of parameters has."""
    return prepare_in(data, raw, out, out.with_name(f"{out.name}-work"), **{"workers": 1, **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("store", ["array", "encoded"])
@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_work_that_stopped_goes_on_and_gives_the_same_bytes(
    celeba: Celeba,
    data_params: Params,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    stop_after: int,
) -> None:
    raw, data = celeba(), data_params(store=store, valid_split="test")
    prepare(data, raw, tmp_path / "whole")
    monkeypatch.setattr(growing, "STATE_SECONDS", 0.0)

    class Killed(BaseException):
        pass

    ticks: list[int] = []

    def tick(count: int) -> None:
        ticks.append(count)
        if len(ticks) > stop_after:
            raise Killed

    with pytest.raises(Killed):
        prepare(data, raw, tmp_path / "out", tick=tick)
    for path in (tmp_path / "out-work").glob("*.npy"):  # a write that the state does not know of
        with path.open("ab") as file:
            file.write(b"garbage")
    ticks = []
    prepare(data, raw, tmp_path / "out", tick=ticks.append)
    assert sum(ticks) == 10
    assert max(ticks[:1]) > 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_unfinished_work_of_other_files_is_thrown_away(
    celeba: Celeba, data_params: Params, jpegs: dict[str, bytes], tmp_path: Path
) -> None:
    raw = celeba(jpegs | {"000002.jpg": b"no image"}, layout="folder")
    with pytest.raises(ValueError, match="1 of 10 are damaged"):
        prepare(data_params(), raw, tmp_path / "out")
    (raw / "img_align_celeba" / "000002.jpg").write_bytes(jpegs["000002.jpg"])
    ticks: list[int] = []
    assert prepare(data_params(), raw, tmp_path / "out", tick=ticks.append)["splits"]["train"]["images"] == 8
    assert ticks[0] == 0


def test_files_that_are_shorter_than_the_state_says_are_made_anew(
    celeba: Celeba, data_params: Params, tmp_path: Path
) -> None:
    """As when it is killed while it puts its files in place."""
    raw = celeba()
    prepare(data_params(), raw, tmp_path / "whole")
    prepare(data_params(), raw, tmp_path / "out")  # leaves states, and no images
    assert (tmp_path / "out-work" / "train.json").is_file()
    prepare(data_params(), raw, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_work_that_was_killed_before_its_first_state_is_made_anew(
    celeba: Celeba, data_params: Params, tmp_path: Path
) -> None:
    raw = celeba()
    prepare(data_params(), raw, tmp_path / "whole")
    prepare(data_params(), raw, tmp_path / "out")
    work = tmp_path / "out-work"
    for split in ("train", "valid"):
        (work / f"{split}.json").unlink()
        (work / f"{split}.npy").write_bytes(bytes(5000))
    prepare(data_params(), raw, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
