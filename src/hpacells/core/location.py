"""Where images and results lie: a path of this machine, or a URL that fsspec opens (``s3://…``).

A URL becomes a ``UPath``, which stands in for a ``pathlib.Path`` wherever its methods alone are
asked for. Credentials and addresses come from where each service's own tools find them
(``AWS_ACCESS_KEY_ID``, ``~/.aws``, ``AWS_ENDPOINT_URL``, …), never from the URL.

Listings are not remembered: other processes write beside this one.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from hpacells.core.errors import HpacellsError, InputError, MissingExtraError

__all__ = [
    "is_remote",
    "list_remote_files",
    "naming_remote_errors",
    "open_location",
    "read_content",
    "upload",
    "write_content",
]

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_SHOWN = 300


def open_location(text: str) -> Path:
    """Give a path for what the user names.

    Parameters
    ----------
    text
        A path, or a URL.

    Returns
    -------
    Path
        Of this machine; for a URL a ``UPath``, which behaves as one.

    Raises
    ------
    MissingExtraError
        When it is a URL and what opens it is not installed.
    InputError
        When the service cannot be reached or does not let this user in.
    """
    found = _URL.match(text)
    if found is None:
        return Path(text)
    scheme = found.group(1).lower()
    if scheme == "file":
        return Path(text[found.end() :])
    if find_spec("upath") is None:
        raise MissingExtraError(_missing_extra(text))
    from upath import UPath  # an extra  # noqa: PLC0415

    try:
        location = UPath(text, use_listings_cache=False)
        location.exists()
    except ImportError as error:
        raise MissingExtraError(_missing_extra(text)) from error
    except Exception as error:  # each service has its own
        words = " ".join(f"{type(error).__name__}: {error}".split())[:_SHOWN]
        raise InputError(
            f"{text}: cannot be opened ({words}). Check the address, and that this machine has "
            "credentials for it (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws)."
        ) from error
    return cast("Path", location)


def is_remote(path: Path) -> bool:
    """Say whether a path is a URL's."""
    return not isinstance(path, Path)


def list_remote_files(folder: Path) -> list[str]:
    """List the names of the files under a URL, sorted, by one request for all."""
    with naming_remote_errors(folder):
        entries = folder.fs.ls(folder.path, detail=True)  # type: ignore[attr-defined]  # a UPath's
    return sorted(e["name"].rsplit("/", 1)[-1] for e in entries if e["type"] == "file")


def read_content(path: Path) -> bytes:
    """Read a file, here or behind a URL, whole; of the latter, by one request.

    Raises
    ------
    OSError
        ``FileNotFoundError`` when it is not there.
    """
    if not is_remote(path):
        return path.read_bytes()
    with naming_remote_errors(path):
        content: bytes = path.fs.cat_file(path.path)  # type: ignore[attr-defined]  # a UPath's
    return content


def upload(local: Path, location: Path) -> None:
    """Put a file of this machine where a URL says."""
    location.fs.put_file(str(local), location.path)  # type: ignore[attr-defined]  # a UPath's


def write_content(location: Path, content: bytes) -> None:
    """Write a few bytes where a URL says."""
    with naming_remote_errors(location):
        location.fs.pipe_file(location.path, content)  # type: ignore[attr-defined]  # a UPath's


@contextmanager
def naming_remote_errors(path: Path) -> Iterator[None]:
    """Read or write ``path`` in the block; what its service's own library raises is an ``OSError``.

    Raises
    ------
    OSError
        With ``path`` as its file name.
    """
    try:
        yield
    except (OSError, HpacellsError):
        raise
    except Exception as error:
        if not is_remote(path):
            raise
        words = f"{type(error).__name__}: {error}"
        raise OSError(errno.EIO, words, str(path)) from error


def _missing_extra(text: str) -> str:
    return (
        f"{text}: expected the packages that open URLs, they are not installed. In the "
        "repository: pip install -c constraints.txt '.[cloud]'."
    )
