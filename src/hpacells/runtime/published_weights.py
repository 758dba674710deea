"""Weights that others publish: fetched once, by checksum, into a cache folder.

::

    <cache>/<weights>/<file>            the file as published, or what was taken out of an archive
    <cache>/<weights>/<file>.sha256     its hash at first sight, where none is known beforehand
    <cache>/<weights>/.<file>.part      what a broken connection left: the next fetch continues it
    <cache>/<weights>/model/            the model folder made of a classifier's files
    <cache>/.<weights>.lock             held by the process that changes the folder

Nothing is fetched unless ``install_weights`` is called, and nothing is ever run from here. A file
that was put there by hand counts like one that was fetched.
"""

import logging
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpacells.core.errors import ModelError
from hpacells.core.progress import ProgressCallback, silent
from hpacells.core.provenance import sha256_file
from hpacells.core.storage import atomic_path
from hpacells.runtime.cache import (
    DISK_FULL,
    cache_folder,
    cache_lock,
    output_error,
    remove_empty,
)
from hpacells.runtime.fetch import (
    CANNOT_FETCH,
    UrlOpener,
    discard_part,
    fetch_part,
    kept_words,
    open_url,
)

__all__ = [
    "PublishedFile",
    "PublishedWeights",
    "by_hand",
    "install_weights",
    "missing_files",
    "remove_weights",
    "verify_weights",
]

_log = logging.getLogger(__name__)
_MAX_MEMBER_BYTES = 10_000_000_000
"""More than any published weights; ``ZipFile`` reads no more than the size that it is told."""
# no archive, damaged, no such member, encrypted, of an unknown compression
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, RuntimeError)


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

    @property
    def model_folder(self) -> Path:
        """Where the model folder lies that is made of them, if one is."""
        return cache_folder() / self.name / "model"


def missing_files(weights: PublishedWeights) -> list[PublishedFile]:
    """Give the files that are not in the cache; nothing is hashed."""
    return [file for file in weights.files if not weights.path(file).is_file()]


def install_weights(
    weights: PublishedWeights,
    *,
    tell: Callable[[str], None] = _log.warning,
    opener: UrlOpener = open_url,
    source: Path | None = None,
    progress: ProgressCallback = silent,
) -> dict[str, Path]:
    """Have weights in the cache: fetch what is missing, verify all of it.

    Parameters
    ----------
    weights
        What is wanted.
    tell
        Told the notice, once, before the first byte is fetched, and what is fetched.
    opener
        Opens an address for reading bytes.
    source
        A folder that holds the files by their names in the cache; then nothing is fetched.
    progress
        Told of the megabytes of each file.

    Returns
    -------
    dict
        File name → path.

    Raises
    ------
    ModelError
        When a file cannot be fetched (without a network above all) or is not the one expected; the
        message holds the address, the checksum, and where to put the file by hand.
    OutputError
        When the cache cannot be written, or the disk has no room.
    """
    if not missing_files(weights):
        return verify_weights(weights)
    tell(f"{weights.title}. Licence: {weights.licence}. {weights.notice}")
    with cache_lock(weights.name, tell):
        missing = missing_files(weights)
        if missing:
            against = "; ".join(sorted({file.checked_against for file in missing}))
            folder = cache_folder() / weights.name
            tell(f"{len(missing)} file(s) go to {folder}, each checked against {against}.")
        for file in missing:
            if source is not None:
                tell(f"copying {source / file.name}")
                _copy(weights, file, source)
                continue
            tell(f"fetching {file.url}")
            _fetch(weights, file, opener, progress)
        return verify_weights(weights)


def _fetch(
    weights: PublishedWeights, file: PublishedFile, opener: UrlOpener, progress: ProgressCallback
) -> None:
    """Fetch one file; it appears in the cache whole and as expected, or not at all."""
    path = weights.path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with _cleared(part):
        try:
            fetch_part(file.url, part, opener=opener, progress=progress)
        except CANNOT_FETCH as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                discard_part(part)
                raise output_error(path.parent, error) from error
            raise ModelError(
                f"{file.url}: cannot be fetched ({error}).{kept_words(part)} "
                f"{by_hand(weights, file)}"
            ) from error
        try:
            if file.member is not None:
                _take_member(part, file.member)
        except _BAD_ARCHIVE as error:
            discard_part(part)
            raise ModelError(
                f"{file.url}: cannot be fetched ({error}). {by_hand(weights, file)}"
            ) from error
        _keep(weights, file, part, file.url)


def _copy(weights: PublishedWeights, file: PublishedFile, source: Path) -> None:
    """Take one file out of a folder, like one that was fetched."""
    found = source / file.name
    path = weights.path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not found.is_file():
        raise ModelError(
            f"{source}: expected the file {file.name} there, as published at {file.url}. Put it "
            "there, or install without --from to fetch it."
        )
    part = path.with_name(f".{path.name}.part")
    with _cleared(part):
        discard_part(part)
        shutil.copyfile(found, part)
        _keep(weights, file, part, str(found))


@contextmanager
def _cleared(part: Path) -> Iterator[None]:
    """Leave nothing behind but a part that can be continued; say it where the disk is full."""
    try:
        yield
    except OSError as error:
        raise output_error(part.parent, error) from error
    finally:
        if not kept_words(part):
            discard_part(part)
        remove_empty(part.parent)


def _keep(weights: PublishedWeights, file: PublishedFile, path: Path, origin: str) -> None:
    """Move a file to its place in the cache if it is the one expected."""
    got, known = sha256_file(path), _known_sha256(weights, file)
    if known not in (None, got):
        discard_part(path)
        raise ModelError(
            f"{origin}: expected sha256 {known} ({file.checked_against}), got {got}. It "
            "is another file, and was not kept."
        )
    if known is None:
        _write_first_sight(weights.path(file), got)
    path.replace(weights.path(file))
    discard_part(path)


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
        if opened.getinfo(member).file_size > _MAX_MEMBER_BYTES:
            raise zipfile.BadZipFile(f"{member} unpacks to more than {_MAX_MEMBER_BYTES} bytes")
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
    """Remove the files from the cache, damaged ones and what was made of them too.

    The hashes of first sight are forgotten: the next file to be fetched is a first one again.

    Returns
    -------
    int
        Files that there were.
    """
    folder = cache_folder() / weights.name
    if not folder.is_dir():
        return 0
    with cache_lock(weights.name):
        made = [path for path in weights.model_folder.rglob("*") if path.is_file()]
        shutil.rmtree(weights.model_folder, ignore_errors=True)
        n = len(made)
        for file in weights.files:
            path = weights.path(file)
            n += path.is_file()
            path.unlink(missing_ok=True)
            _first_sight(path).unlink(missing_ok=True)
            path.with_name(f"{path.stem}.rdf.yaml").unlink(missing_ok=True)  # a library's
            discard_part(path.with_name(f".{path.name}.part"))
        remove_empty(folder)
    return n
