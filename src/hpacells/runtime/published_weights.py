"""Weights that others publish: fetched once, by checksum, into a cache folder.

::

    <cache>/<weights>/<file>            the file as published, or what was taken out of an archive
    <cache>/<weights>/<file>.sha256     its hash at first sight, where none is known beforehand

The cache is ``$HPACELLS_CACHE``, else ``$XDG_CACHE_HOME/hpacells``, else ``~/.cache/hpacells``.
Nothing is fetched unless ``install_weights`` is called, and nothing is ever run from here. A file
that was put there by hand counts like one that was fetched.
"""

import http.client
import logging
import lzma
import os
import shutil
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hpacells.core.errors import ModelError
from hpacells.core.provenance import sha256_file
from hpacells.core.storage import atomic_path

__all__ = [
    "PublishedFile",
    "PublishedWeights",
    "by_hand",
    "cache_folder",
    "install_weights",
    "missing_files",
    "remove_weights",
    "verify_weights",
]

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TIMEOUT_S = 60
_CANNOT_FETCH = (OSError, http.client.HTTPException)
# no archive, damaged, no such member, encrypted, of an unknown compression
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, RuntimeError)
_UrlOpener = Callable[[str], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class PublishedFile:
    """One file of published weights.

    Parameters
    ----------
    name
        Its name in the cache.
    url
        Where it is published.
    sha256
        Its hash; None where none is known: then the hash of the first sight is written down, and a
        file that differs from it later is refused. That says nothing of the first file itself.
    member
        Path inside the archive at ``url`` where that is a ZIP file; ``sha256`` is the member's.
    sha256_source
        Who says that the file has this hash, in words.
    """

    name: str
    url: str
    sha256: str | None
    member: str | None = None
    sha256_source: str = "its publisher"

    @property
    def checked_against(self) -> str:
        """What a file of this name is compared with, in words."""
        if self.sha256 is None:
            return "its own sha256 at first sight, for none is published"
        return f"the sha256 known from {self.sha256_source}"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that are used together.

    Parameters
    ----------
    name
        Folder in the cache.
    title
        What they are, in one line.
    licence
        SPDX identifier, or words, for the weights.
    notice
        What has to be known before they are fetched: licence, origin, who may use them.
    files
        All of them are needed.
    """

    name: str
    title: str
    licence: str
    notice: str
    files: tuple[PublishedFile, ...]

    def path(self, file: PublishedFile) -> Path:
        """Say where a file lies in the cache."""
        return cache_folder() / self.name / file.name


def cache_folder() -> Path:
    """Give the folder that published weights are kept in; it need not exist."""
    if own := os.environ.get("HPACELLS_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hpacells"


def missing_files(weights: PublishedWeights) -> list[PublishedFile]:
    """Give the files that are not in the cache; nothing is hashed."""
    return [file for file in weights.files if not weights.path(file).is_file()]


def _open_url(url: str) -> AbstractContextManager[IO[bytes]]:
    opened: AbstractContextManager[IO[bytes]] = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    return opened


def install_weights(
    weights: PublishedWeights,
    *,
    tell: Callable[[str], None] = _log.warning,
    open_url: _UrlOpener = _open_url,
) -> dict[str, Path]:
    """Have weights in the cache: fetch what is missing, verify all of it.

    Parameters
    ----------
    weights
        What is wanted.
    tell
        Told the notice, once, before the first byte is fetched, and what is fetched.
    open_url
        Opens an address for reading bytes.

    Returns
    -------
    dict
        File name → path.

    Raises
    ------
    ModelError
        When a file cannot be fetched (without a network above all) or is not the one expected; the
        message holds the address, the checksum, and where to put the file by hand.
    """
    missing = missing_files(weights)
    if missing:
        tell(f"{weights.title}. Licence: {weights.licence}. {weights.notice}")
    for file in missing:
        tell(
            f"fetching {file.url} to {weights.path(file)}, to be checked against "
            f"{file.checked_against}"
        )
        _fetch(weights, file, open_url)
    return verify_weights(weights)


def _fetch(weights: PublishedWeights, file: PublishedFile, open_url: _UrlOpener) -> None:
    """Fetch one file; it appears in the cache whole and as expected, or not at all."""
    path = weights.path(file)
    known = _known_sha256(weights, file)
    try:
        with atomic_path(path) as temporary:
            with open_url(file.url) as source, temporary.open("wb") as target:
                _require_secure(file.url, source)
                shutil.copyfileobj(source, target, _CHUNK)
                _require_whole(source, target.tell())
            if file.member is not None:
                _take_member(temporary, file.member)
            got = sha256_file(temporary)
            if known not in (None, got):
                raise ModelError(
                    f"{file.url}: expected sha256 {known} ({file.checked_against}), got {got}. It "
                    "is another file, and was not kept."
                )
    except (*_CANNOT_FETCH, *_BAD_ARCHIVE) as error:
        raise ModelError(
            f"{file.url}: cannot be fetched ({error}). {by_hand(weights, file)}"
        ) from error
    if known is None:
        _write_first_sight(path, got)


def _require_secure(url: str, source: IO[bytes]) -> None:
    """Refuse a secure address that led to one which anybody on the way may change."""
    last = getattr(source, "url", None) or url
    if url.startswith("https:") and not last.startswith("https:"):
        raise OSError(f"it leads to {last}, expected another https address")


def _require_whole(source: IO[bytes], n_bytes: int) -> None:
    """Refuse what ends before the length that was announced: reading in pieces raises nothing."""
    headers = getattr(source, "headers", None)
    announced = headers.get("Content-Length") if headers is not None else None
    if announced is not None and int(announced) != n_bytes:
        raise OSError(f"expected {announced} bytes, got {n_bytes}: the connection broke off")


def by_hand(weights: PublishedWeights, file: PublishedFile) -> str:
    """Say how to put a file into the cache without this machine's network."""
    what = f"take {file.member} out of {file.url}" if file.member else f"fetch {file.url}"
    known = (
        f"sha256 {file.sha256}, from {file.sha256_source}" if file.sha256 else "no sha256 is known"
    )
    return (
        f"On a machine with a network {what} ({known}), and put it by hand at "
        f"{weights.path(file)}; HPACELLS_CACHE names another cache folder."
    )


def _take_member(archive: Path, member: str) -> None:
    """Replace a ZIP file by one of its members."""
    with zipfile.ZipFile(archive) as opened:
        content = opened.read(member)
    archive.write_bytes(content)


def _first_sight(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _known_sha256(weights: PublishedWeights, file: PublishedFile) -> str | None:
    """Give the hash that a file must have: the one known beforehand, else that of first sight."""
    noted = _first_sight(weights.path(file))
    if file.sha256 is None and noted.is_file():
        return noted.read_text(encoding="ascii").strip()
    return file.sha256


def _write_first_sight(path: Path, sha256: str) -> None:
    with atomic_path(_first_sight(path)) as temporary:
        temporary.write_text(f"{sha256}\n", encoding="ascii")


def verify_weights(weights: PublishedWeights) -> dict[str, Path]:
    """Verify the files in the cache by their hashes.

    A file without a known hash, put there by hand, has its hash written down now.

    Returns
    -------
    dict
        File name → path.

    Raises
    ------
    ModelError
        When a file is missing, or is not the one whose hash is known.
    """
    paths = {}
    for file in weights.files:
        path = weights.path(file)
        if not path.is_file():
            raise ModelError(
                f"{path}: there is no such file. Fetch it with 'hpacells models install "
                f"{weights.name}'. {by_hand(weights, file)}"
            )
        got, known = sha256_file(path), _known_sha256(weights, file)
        if known is None:
            _write_first_sight(path, got)
        elif got != known:
            raise ModelError(
                f"{path}: expected sha256 {known} ({file.checked_against}), got {got}. Remove it "
                f"with 'hpacells models remove {weights.name}'. {by_hand(weights, file)}"
            )
        paths[file.name] = path
    return paths


def remove_weights(weights: PublishedWeights) -> int:
    """Remove the files from the cache, damaged ones too; give how many there were.

    The hashes of first sight are forgotten: the next file to be fetched is a first one again.
    """
    n = 0
    for file in weights.files:
        path = weights.path(file)
        n += path.is_file()
        path.unlink(missing_ok=True)
        _first_sight(path).unlink(missing_ok=True)
        path.with_name(f"{path.stem}.rdf.yaml").unlink(missing_ok=True)  # a library's description
    with suppress(OSError):  # not there, or something that is not ours lies in it
        (cache_folder() / weights.name).rmdir()
    return n
