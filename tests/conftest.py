"""Settings of all tests: reproducible, silent to the outside, one thread each.

They are environment variables, because torch and MLflow read them on import; nothing heavy is imported here.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

os.environ.setdefault("OMP_NUM_THREADS", "1")  # `make test` runs one process a core
os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.update(
    DDPM_TRACKING="off",  # tests of tracking itself turn it on, with a store of their own
    MPLBACKEND="Agg",
    DO_NOT_TRACK="true",
    DVC_NO_ANALYTICS="true",
    MLFLOW_DISABLE_TELEMETRY="true",
)
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a developer's server must not receive the runs of tests
os.environ.pop("DVC_ROOT", None)

# The same examples on every run and machine; a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def write_encoded() -> "Callable[[Path, NDArray[np.uint8]], None]":
    """Write images as `data.store: encoded` keeps them."""
    import numpy as np

    from ddpm.data.encoded import encode, npy_header, trailer

    def write(path: Path, images: "NDArray[np.uint8]") -> None:
        parts = [encode(image) for image in images]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        behind = b"".join([*parts, trailer(offsets, images.shape[1:])])
        path.write_bytes(npy_header((len(behind),)) + behind)

    return write
