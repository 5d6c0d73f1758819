"""One file from Google Drive, where CelebA lies: fetched by gdown, as torchvision does it.

A file has a daily quota there, which CelebA often uses up; then Drive sends a page that says so.
"""

from pathlib import Path

from ddpm.engine.transfer import TIMEOUT_SECONDS, TRIES, Progress, WrongBytes, partial, put_in_place

QUOTA = ("Too many users have viewed or downloaded", "have had many accesses")
"""What Drive's page of refusal says, or gdown where the page says nothing."""


class Meter:
    """Turns gdown's count of all bytes so far into ours of bytes added."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._so_far = 0

    def __call__(self, so_far: int, total: int | None) -> None:
        """Called by gdown after each block."""
        if not self._so_far:
            self._progress.total(total or 0)
        self._progress.tick(so_far - self._so_far)
        self._so_far = so_far


def fetch_from_drive(file: str, target: Path, md5: str, page: str, progress: Progress) -> None:
    """Download a public file of Google Drive, continued if it broke off.

    Args:
        file: its id on Drive.
        target: where to put it when it is whole.
        md5: as published.
        page: where a human being finds the file.
        progress: what is told of it.

    Raises:
        ValueError: Drive refuses, for its quota or otherwise; the connection broke; not the published file.
    """
    try:
        import gdown
        import requests
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{target.name}: Google Drive needs the Python package {error.name}, which is not installed; "
            f"install it, or {_by_hand(target, page)}"
        ) from None
    progress.announce(f"{target.name}: from Google Drive")
    try:
        gdown.download(
            id=file,
            output=str(partial(target)),
            quiet=True,
            use_cookies=False,  # they would be stored in the home folder
            resume=True,
            progress=Meter(progress),
            timeout=TIMEOUT_SECONDS,
            retries=TRIES - 1,
        )
        put_in_place(target, md5)
    except WrongBytes as wrong:
        if wrong.page:
            raise _refusal(target, page, "a web page, instead of the file") from None
        raise ValueError(f"{target}: {wrong}; try again, or {_by_hand(target, page)}") from None
    except (gdown.DownloadError, requests.RequestException) as error:
        said = " ".join(str(error).split()).removeprefix("Failed to retrieve file url: ")  # gdown folds its lines
        if any(text in said for text in QUOTA):
            raise _refusal(target, page, said) from None
        raise ValueError(
            f"{target}: Google Drive did not deliver it ({said}); nothing is lost: try again with the same command, "
            f"which continues what has come (delete {partial(target).name}* to start over), or {_by_hand(target, page)}"
        ) from None


def _refusal(target: Path, page: str, said: str) -> ValueError:
    return ValueError(
        f"{target.name}: Google Drive refuses for now: its daily quota for this file is used up (it says: "
        f"{said.split('. ')[0]}); nothing is lost: try again in some hours with the same command, "
        f"or {_by_hand(target, page)}"
    )


def _by_hand(target: Path, page: str) -> str:
    return f"download it in a browser from {page} (see data/README.md) and put it into {target.parent}"
