"""The measuring of imports, on a small package of its own that is called ddpm."""

import shutil
from pathlib import Path

import pytest

from pipeline import imports

FILES = {
    "__init__.py": '"""A package."""\n\n__version__ = "1"\n',
    "__main__.py": '"""Finds commands."""\n',
    "cli/__init__.py": "",
    "cli/train.py": (
        "import ddpm.cli.stage\n\n\n"
        "def train():\n    from ddpm.engine.train import run\n    from ddpm.nets import make\n"
    ),
    "cli/stage.py": "def stage():\n    from ddpm.metrics import distance\n",
    "cli/sample.py": "def sample():\n    import ddpm.engine.sample\n",
    "engine/__init__.py": "",
    "engine/train.py": (
        "from typing import TYPE_CHECKING\n\nimport ddpm.types\nfrom ddpm.experiment import record\n\n"
        "if TYPE_CHECKING:\n    from ddpm.metrics import distance\n\n\ndef run():\n    from ddpm.data import digits\n"
    ),
    "engine/sample.py": "from ddpm.engine.train import run\n",
    "cli/figures.py": "def figures():\n    from ddpm.figures.stage import draw\n",
    "figures/__init__.py": '"""A table."""\n\nFIGURES = {"one": "One.", "two": "Two."}\n',
    "figures/stage.py": (
        "from importlib import import_module\n\n\n"
        "def draw(name):\n    return import_module(f'ddpm.figures.{name}').FIGURE\n"
    ),
    "figures/one.py": "from ddpm.engine.sample import run\n",
    "figures/two.py": "def draw():\n    from ddpm.metrics import distance\n",
    "data/__init__.py": '"""Nothing but words."""\n',
    "data/digits.py": "from ddpm import randomness\n",
    "nets/__init__.py": '"""Also code."""\n\nfrom ddpm.nets.unet import UNet as make\n',
    "nets/unet.py": "class UNet: ...\n",
    "metrics/__init__.py": "",
    "metrics/distance.py": "",
    "experiment/__init__.py": "",
    "experiment/record.py": "",
    "randomness.py": "",
    "types.py": "",
}
TRAIN = [f"ddpm/{name}.py" for name in ("data/digits", "engine/train", "nets/__init__", "nets/unet", "randomness")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "ddpm" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ddpm" / name).write_text(text)
    shutil.copytree(Path(imports.__file__).parent, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_lazy_imports_count_and_harmless_modules_do_not(root: Path):
    files = imports.measure(["train", "sample"], root)
    assert files["train"] == TRAIN
    # a stage is measured as if it were alone: `nets` was loaded by `train`, but `sample` never asks for it
    assert files["sample"] == sorted({"ddpm/engine/sample.py", *TRAIN} - {"ddpm/nets/__init__.py", "ddpm/nets/unet.py"})


def test_what_is_found_by_name_counts(root: Path):
    """The stage `figures` has no engine module of its name, but a package whose modules it imports by their names."""
    figures = [f"ddpm/figures/{name}.py" for name in ("__init__", "one", "stage", "two")]
    wanted = sorted({"ddpm/engine/sample.py", "ddpm/metrics/distance.py", *figures, *TRAIN})
    files = imports.measure(["figures"], root)["figures"]
    assert files == [name for name in wanted if "/nets/" not in name]


def test_a_broken_import_is_reported(root: Path):
    (root / "ddpm/engine/train.py").write_text("import no_such_module\n")
    with pytest.raises(ValueError, match=r"must be importable, got ModuleNotFoundError.*no_such_module"):
        imports.measure(["train"], root)


def test_every_harmless_module_exists_and_has_a_reason():
    package = Path(imports.__file__).parents[1]
    for name, reason in imports.CANNOT_CHANGE_RESULTS.items():
        place = package / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file()
        assert reason
    assert imports.can_change_results("ddpm.clinic")  # begins like ddpm.cli, but is not inside it
    assert not imports.can_change_results("ddpm.cli.train")
