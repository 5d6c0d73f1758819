"""Which files a data set needs, which of them are fetched, and what is refused."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from torchvision import datasets

from ddpm.cli import download as command
from ddpm.data import celeba
from ddpm.engine import download as module
from ddpm.engine.download import RawFile, download, published
from ddpm.experiment.workspace import file_lock

SHARED = os.environ.get("DDPM_SHARED_DATA")
CONTENT = b"0123456789" * 100_000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def test_celeba_is_torchvisions():
    files = {file.name: file for file in published("celeba", "celeba")}
    rows = {(file.drive, file.md5, file.name) for file in files.values()}
    assert rows <= set(datasets.CelebA.file_list)
    assert files.keys() == celeba.OFFICIAL_SHA256.keys()
    assert list(files)[-1] == celeba.ARCHIVE  # what the quota refuses does not keep the others away


@pytest.mark.skipif(SHARED is None, reason="DDPM_SHARED_DATA names no real data")
def test_lists_of_celeba_have_both_published_digests():
    assert SHARED is not None
    folder = Path(SHARED) / "celeba"
    partition = (folder / celeba.PARTITION).read_bytes()
    attributes = gzip.decompress((folder / f"{celeba.ATTRIBUTES}.gz").read_bytes())
    md5s = {file.name: file.md5 for file in published("celeba", "celeba")}
    for name, content in ((celeba.PARTITION, partition), (celeba.ATTRIBUTES, attributes)):
        assert hashlib.sha256(content).hexdigest() == celeba.OFFICIAL_SHA256[name]
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5s[name]


@pytest.mark.parametrize(("source", "table"), [("mnist", datasets.MNIST), ("fashion-mnist", datasets.FashionMNIST)])
def test_mirrors_are_torchvisions(source: str, table: type[datasets.MNIST]):
    files = published(source, source)
    assert [(file.name, file.md5) for file in files] == table.resources
    assert all(file.addresses == tuple(mirror + file.name for mirror in table.mirrors) for file in files)


@pytest.mark.parametrize(("source", "table"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)])
def test_cifar_is_the_binary_version(source: str, table: type[datasets.CIFAR10]):
    (file,) = published(source, source)
    assert [address.replace("binary", "python") for address in file.addresses] == [table.url]
    assert file.name == table.filename.replace("python", "binary")
    assert file.md5 == module.CIFAR_MD5[file.name] != table.tgz_md5


def test_folders_are_torchvisions():
    (flowers,), (lfw,) = published("folder", "flowers102"), published("folder", "lfw")
    assert (flowers.name, flowers.md5) == datasets.Flowers102._file_dict["image"]
    assert flowers.addresses == (f"{datasets.Flowers102._download_url_prefix}102flowers.tgz",)
    assert ("lfw", lfw.name, lfw.md5) == datasets.LFWPeople.file_dict["original"]
    assert lfw.addresses == (f"{datasets.LFWPeople.download_url_prefix}lfw.tgz",)


def test_every_set_has_addresses_and_digests():
    for files in (*module.SETS.values(), *module.FOLDER_SETS.values()):
        for file in files():
            assert file.addresses or file.drive
            assert all(address.startswith("http") for address in file.addresses)
            assert len(bytes.fromhex(file.md5)) == 16
            assert "/" not in file.name


@pytest.mark.parametrize("source", ["folder", "lsun", "celeba-hq", "huggingface"])
def test_other_sets_are_refused(tmp_path, source: str):
    with pytest.raises(
        ValueError, match=rf"must be digits, celeba, .* or lfw, got {source} with data\.name x; .*README\.md"
    ):
        download(source, "x", tmp_path)


def test_digits_need_nothing(tmp_path):
    lines = []
    assert download("digits", "digits", tmp_path / "digits", announce=lines.append) == []
    assert lines == ["digits: nothing to download"]
    assert not (tmp_path / "digits").exists()


@pytest.fixture
def raw_set(site, monkeypatch) -> None:
    """A data set of two files."""
    files = [RawFile(name, MD5, (site.serve(f"/{name}", CONTENT),)) for name in ("a", "b")]
    monkeypatch.setitem(module.SETS, "mnist", lambda: files)


def test_only_what_is_missing_is_fetched(site, raw_set, tmp_path):
    folder, lines = tmp_path / "raw" / "mnist", []
    assert download("mnist", "mnist", folder) == [folder / "a", folder / "b"]
    (folder / "b").unlink()
    download("mnist", "mnist", folder, announce=lines.append)
    assert [request.path for request in site.seen] == ["/a", "/b", "/b"]
    assert lines == ["a: is there", f"b: from {site.address}/b"]


def test_complete_folder_is_left_alone(site, raw_set, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(CONTENT)
    assert download("mnist", "mnist", tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert not site.seen


def test_other_file_of_that_name_is_kept(site, raw_set, tmp_path):
    (tmp_path / "b").write_bytes(b"my own")
    with pytest.raises(ValueError, match=rf"b: --download keeps .* must be {MD5}, got \w+; remove it"):
        download("mnist", "mnist", tmp_path)
    assert (tmp_path / "b").read_bytes() == b"my own"
    assert not site.seen


def test_archive_is_no_place_for_downloads(raw_set, tmp_path):
    (tmp_path / "raw.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"raw\.zip: --download needs a folder, got a file"):
        download("mnist", "mnist", tmp_path / "raw.zip")


def test_second_run_waits_for_the_first(site, raw_set, tmp_path):
    run = threading.Thread(target=download, args=("mnist", "mnist", tmp_path))
    with file_lock(tmp_path / ".download.lock"):
        run.start()
        run.join(0.2)
        assert not site.seen
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(CONTENT)
    run.join()
    assert not site.seen


def test_command_shows_bytes(raw_set, tmp_path, capsys):
    command.fetch("mnist", "mnist", tmp_path)
    shown = capsys.readouterr()
    assert not shown.out
    assert "1.00MB/s" in shown.err or "1.00M/1.00M" in shown.err
    assert "a: from http://127.0.0.1" in shown.err


def test_import_is_light():
    heavy = "import sys, ddpm.engine.download; sys.exit(bool({'torch', 'torchvision', 'gdown'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
