"""One file fetched from an address into a part file, continued where a broken connection left it.

A part is continued only where the server says that the file is still the one it was (``If-Range``
with the validator that stands beside the part); otherwise it is fetched from its beginning. Nothing
here knows what the file must be: that is ``runtime.published_weights``.
"""

import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from hpacells.core.errors import OutputError
from hpacells.core.progress import ProgressCallback, silent

__all__ = [
    "CANNOT_FETCH",
    "UrlOpener",
    "discard_part",
    "fetch_part",
    "kept_words",
    "no_room",
    "open_url",
]

CANNOT_FETCH = (OSError, http.client.HTTPException)
"""What a fetch raises when there is no network, no such address, or the connection breaks off."""

UrlOpener = Callable[[str, Mapping[str, str]], AbstractContextManager[IO[bytes]]]
"""Opens an address, asked with these headers, for reading bytes."""

_CHUNK = 1 << 20
_TIMEOUT_S = 60
_MB = 1_000_000
_PARTIAL, _NOT_SATISFIABLE = 206, 416


def open_url(url: str, headers: Mapping[str, str]) -> AbstractContextManager[IO[bytes]]:
    """Open an address of the web, or of a local file."""
    request = urllib.request.Request(url, headers=dict(headers))
    opened: AbstractContextManager[IO[bytes]] = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    return opened


def fetch_part(
    url: str,
    part: Path,
    *,
    opener: UrlOpener = open_url,
    progress: ProgressCallback = silent,
) -> None:
    """Fetch a file to ``part``, whole; after a broken connection the part is kept.

    Parameters
    ----------
    url
        Where it is published.
    part
        Continued where it is there already and the server can.
    opener
        Opens the address.
    progress
        Told (megabytes done, megabytes in all, file name).

    Raises
    ------
    OSError, HTTPException
        When it cannot be fetched to its end.
    OutputError
        When the disk has no room for it.
    """
    begun = part.stat().st_size if part.is_file() else 0
    validator = _validator_of(part).read_text("ascii") if _validator_of(part).is_file() else ""
    asked = {"Range": f"bytes={begun}-", "If-Range": validator} if begun and validator else {}
    try:
        with opener(url, asked) as source:
            _require_secure(url, source)
            _receive(source, part, begun=begun, progress=progress)
    except urllib.error.HTTPError as error:
        error.close()  # the answer that says so holds the connection
        if error.code != _NOT_SATISFIABLE or not asked:
            raise
        discard_part(part)  # of another length than the file there is now
        fetch_part(url, part, opener=opener, progress=progress)


def discard_part(part: Path) -> None:
    """Forget what was fetched so far."""
    part.unlink(missing_ok=True)
    _validator_of(part).unlink(missing_ok=True)


def kept_words(part: Path) -> str:
    """Say that a part can be continued; empty where it cannot."""
    if not (part.is_file() and _validator_of(part).is_file()):
        return ""
    return f" {part.stat().st_size / _MB:.1f} MB are kept: the same command continues."


def no_room(folder: Path) -> OutputError:
    """Give the error that says that a disk is full."""
    return OutputError(
        f"{folder}: the disk is full. Free some space, or name another cache folder by "
        "HPACELLS_CACHE."
    )


def _validator_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _receive(source: IO[bytes], part: Path, *, begun: int, progress: ProgressCallback) -> None:
    headers = getattr(source, "headers", None)
    headers = {} if headers is None else headers
    start = begun if getattr(source, "status", None) == _PARTIAL else 0
    announced = headers.get("Content-Length")
    total = start + int(announced) if announced is not None else None
    if total is not None:
        _require_room(part, total - start)
    if not start:
        discard_part(part)
        if validator := headers.get("ETag") or headers.get("Last-Modified"):
            _validator_of(part).write_text(validator, encoding="ascii")
    name = part.name.removeprefix(".").removesuffix(".part")
    with part.open("ab" if start else "wb") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            done = target.tell()
            whole = -(-max(total or 0, done) // _MB)
            progress(whole if done == total else done // _MB, whole, name)
        got = target.tell()
    if total is not None and got != total:  # reading in pieces raises nothing
        raise OSError(f"expected {total} bytes, got {got}: the connection broke off")


def _require_secure(url: str, source: IO[bytes]) -> None:
    """Refuse a secure address that led to one which anybody on the way may change."""
    last = getattr(source, "url", None) or url
    if url.startswith("https:") and not last.startswith("https:"):
        raise OSError(f"it leads to {last}, expected another https address")


def _require_room(part: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if n_bytes > free:
        raise OutputError(
            f"{part.parent}: expected room for {n_bytes / _MB:.0f} MB, there are "
            f"{free / _MB:.0f} MB. Free some space, or name another cache folder by "
            "HPACELLS_CACHE."
        )
