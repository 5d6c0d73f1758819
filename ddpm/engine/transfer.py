"""One file over HTTP: continued where it broke off, known by its md5, and in its place only when it is whole.

Until then it is `NAME.part`. Its bytes may be of an earlier run or of another address, because the published md5
decides in the end: a continued file with another md5 is fetched once more from the start.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ddpm.data.digests import file_md5

TRIES = 4
"""Connections to one address, 1, 2 and 4 seconds apart."""
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 18
BUSY = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses that another try may change."""


@dataclass(frozen=True)
class Progress:
    """Where a download tells how it goes."""

    announce: Callable[[str], object]
    """Called with a line for the user."""
    total: Callable[[int], object]
    """Called with the bytes of the file that begins, or begins anew; 0 where the server does not say."""
    tick: Callable[[int], object]
    """Called with the number of bytes that were added."""


class Failure(Exception):
    """An address that did not deliver; its text is the reason."""


class Broken(Failure):
    """A connection that another try may mend; `validator` names the version of the file, for If-Range."""

    def __init__(self, reason: str, validator: str = "") -> None:
        super().__init__(reason)
        self.validator = validator


class WrongBytes(Failure):
    """A file that is not the published one; `page`: it is a web page, as hosts send instead of what they refuse."""

    def __init__(self, reason: str, page: bool) -> None:
        super().__init__(reason)
        self.page = page


def fetch(addresses: Sequence[str], target: Path, md5: str, progress: Progress) -> None:
    """Download a file from the first address that delivers it.

    Raises:
        ValueError: none does; what came so far stays as `NAME.part`, unless its md5 was wrong.
        OSError: the disk is full or not writable.
    """
    failures: list[str] = []
    for address in addresses:
        if failures:
            progress.announce(failures[-1])
        try:
            return _fetch_whole(address, target, md5, progress)
        except Failure as failure:
            failures.append(f"{address}: {failure}")
    raise ValueError(
        f"{target}: must come from a published address, got {'; '.join(failures)}; try again later with the same "
        f"command, which continues what has come, or put {target.name} there by hand (data/README.md)"
    )


def partial(target: Path) -> Path:
    """Where a file lies until it is whole and verified."""
    return target.with_name(f"{target.name}.part")


def put_in_place(target: Path, md5: str) -> None:
    """Verify a finished `NAME.part` and give it its name.

    Raises:
        WrongBytes: another md5; the file is deleted.
    """
    part = partial(target)
    if (found := file_md5(part)) != md5:
        with part.open("rb") as file:
            page = file.read(BLOCK_BYTES).lstrip().startswith(b"<")
        part.unlink()
        got = "a web page instead of the file" if page else found
        raise WrongBytes(f"md5 must be {md5}, got {got}; what came is deleted", page)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, target)  # noqa: PTH105  (as the other files of a stage)


def _fetch_whole(address: str, target: Path, md5: str, progress: Progress) -> None:
    part = partial(target)
    if continued := part.exists():
        progress.announce(f"{target.name}: continued after {part.stat().st_size:,} bytes from {address}")
    else:
        progress.announce(f"{target.name}: from {address}")
    _persist(address, part, progress)
    try:
        put_in_place(target, md5)
    except WrongBytes as wrong:
        if not continued:
            raise
        progress.announce(f"{target.name}: {wrong}; starting over")
        _fetch_whole(address, target, md5, progress)


def _persist(address: str, part: Path, progress: Progress) -> None:
    """Connect until the file is complete.

    Raises:
        Failure: refused, or broken TRIES times.
    """
    validator = ""
    for number in range(TRIES - 1):
        try:
            return _receive(address, part, validator, progress)
        except Broken as broken:
            validator = broken.validator or validator
            progress.announce(f"{part.stem}: {broken}; again in {2**number} s")
            time.sleep(2**number)
    return _receive(address, part, validator, progress)


def _receive(address: str, part: Path, validator: str, progress: Progress) -> None:
    """Append what is missing, over one connection; a server that does not know Range sends all of it again."""
    size = part.stat().st_size if part.exists() else 0
    response = _open(address, size, validator)
    if response is None:
        return
    with response:
        headers = response.headers
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            size = 0
        elif not headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            part.unlink()
            raise Broken(f"asked for byte {size} and later, got {headers.get('Content-Range')}")
        missing = int(headers.get("Content-Length", 0))
        progress.total(size + missing if missing else 0)
        progress.tick(size)
        tag = headers.get("ETag", "")
        version = headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag  # W/: not byte for byte
        with part.open("ab" if size else "wb") as file:
            for block in _blocks(response, version):
                file.write(block)
                progress.tick(len(block))
                missing -= len(block)
    if missing > 0:  # a connection that ends early is no error of http.client
        raise Broken(f"the connection broke off {missing:,} bytes before the end", version)


def _open(address: str, size: int, validator: str) -> HTTPResponse | None:
    """The answer to a request for all bytes from number `size` on; None if there are none.

    Raises:
        Failure: refused. Broken: no answer, or a server that is busy.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise Failure("addresses must begin with http:// or https://")
    headers = {"User-Agent": "ddpm"}
    if size:
        headers |= {"Range": f"bytes={size}-"} | ({"If-Range": validator} if validator else {})
    try:
        asked = request.Request(address, headers=headers)  # noqa: S310  (the scheme is checked)
        response: HTTPResponse = _opener().open(asked, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and size:
            return None
        raise (Broken if error.code in BUSY else Failure)(f"HTTP {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise Broken(f"no answer ({_reason(error)})") from None
    return response


def _opener() -> request.OpenerDirector:
    """Of HTTP and HTTPS only, so that no redirection leads to a local file or to FTP."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPRedirectHandler,
        request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _blocks(response: HTTPResponse, version: str) -> Iterator[bytes]:
    try:
        while block := response.read(BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:  # of the connection: the disk's are raised outside of this generator
        raise Broken(f"the connection broke ({_reason(error)})", version) from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__
