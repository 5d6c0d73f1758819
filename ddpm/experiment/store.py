"""The MLflow store: where it lies, how it is opened, and how its failures are kept away from the work.

MLflow is imported inside functions only: it costs a second that `--help` must not pay.
"""

import os
import re
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ddpm.experiment.workspace import file_lock

EXPERIMENT = "ddpm"
# Set before MLflow is imported. What the user has set stays. Three short tries: a dead server must not stop a training.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def tracking_uri(root: Path) -> str:
    """$MLFLOW_TRACKING_URI, or the SQLite file of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


@contextmanager
def mirrored(action: str) -> Iterator[None]:
    """Run calls to MLflow: a failure is one line on stderr and no error, because files are the truth (contract 5)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow and its libraries; ours are raised elsewhere
            yield
    except Exception as error:
        print(f"warning: MLflow: {action} failed ({one_line(error)}); going on without it", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """An error as one line of at most 300 characters, without the password a URI may hold."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"://[^/\s@]*@", "://", text)[:300]


@contextmanager
def opened(root: Path) -> Iterator[tuple[Any, str]]:
    """Yield (MlflowClient, experiment id), alone on this machine until the block ends.

    The lock is there because processes that create the same SQLite store at once break each other, and because
    finding a run and creating it when it is missing must be one step.

    Raises:
        Exception: whatever MLflow, SQLite or the disk has to complain about.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri = tracking_uri(root)
    with file_lock(root / "work" / "mlflow.lock"):
        if uri.startswith("sqlite:///"):
            _require_sqlite(Path(uri.removeprefix("sqlite:///")))
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            here = None if os.environ.get("MLFLOW_TRACKING_URI") else (root / "mlruns").as_uri()
            yield client, client.create_experiment(EXPERIMENT, artifact_location=here)
        else:
            yield client, experiment.experiment_id


def _require_sqlite(path: Path) -> None:
    # MLflow itself would retry a file it can never open for 100 seconds.
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version")
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path.name}: the store must be writable; correct its permissions")
