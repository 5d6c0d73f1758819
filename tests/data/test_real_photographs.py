"""Real photographs at half size, where DDPM_SHARED_DATA names a folder that has them."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm.data.store import open_split
from ddpm.engine.prepare import prepare

SHARED = os.environ.get("DDPM_SHARED_DATA")


@pytest.mark.skipif(SHARED is None, reason="DDPM_SHARED_DATA names no folder with real photographs")
def test_half_size_celeba(tmp_path: Path, data_params: Callable[..., SimpleNamespace]) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    shared = Path(str(SHARED)) / "celeba"
    (raw / "img_align_celeba.zip").symlink_to(shared / "celeba_10000_89x109.zip")
    (raw / "list_eval_partition.txt").symlink_to(shared / "list_eval_partition.txt")
    data = data_params(image_size=64, train_split="train[0:500]", valid_split="train[500:600]")
    manifest = prepare(data, raw, tmp_path / "out", workers=1)
    assert manifest["raw"]["partition_is_official"] is True
    assert manifest["raw"]["archive_is_official"] is False
    images = open_split(tmp_path / "out", "train").images
    assert images.shape == (500, 64, 64, 3)
    # An aligned face is brighter in its middle than at the border, and redder than it is blue.
    mean = images.mean(axis=0)
    assert mean[24:48, 16:48].mean() > mean[:, :4].mean()
    assert mean[24:48, 16:48, 0].mean() > mean[24:48, 16:48, 2].mean() + 30
    with pytest.raises(ValueError, match=r"all 162570 selected .* 152770 are missing, first 010001.jpg"):
        prepare(data_params(train_split="train[200:]", valid_split="none"), raw, tmp_path / "out", workers=1)
