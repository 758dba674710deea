"""Files that are whole or not there: atomic replacement, and a lock that dies with its owner."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from filelock import FileLock, Timeout

from hpacells.core.errors import OutputError
from hpacells.core.location import is_remote, naming_remote_errors, upload, write_content

__all__ = ["atomic_folder", "atomic_path", "output_lock", "remove_leftovers", "write_json"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` when the block succeeds.

    Parameters
    ----------
    path
        Where the finished file goes; its folder is made. The temporary name keeps the suffix.

    Yields
    ------
    Path
        To write to. On an error it is removed and ``path`` stays as it was; an ``OSError`` that
        names no file gets the name of ``path``. For a URL it lies on this machine and is uploaded,
        which on an object store replaces the whole file at once.
    """
    if is_remote(path):
        with TemporaryDirectory(prefix="hpacells-") as folder, naming_remote_errors(path):
            local = Path(folder) / path.name
            yield local
            upload(local, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:  # a full disk is told without a name
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path`` that becomes ``path`` when the block succeeds.

    Parameters
    ----------
    path
        Where the finished folder goes; one that is there is replaced.

    Yields
    ------
    Path
        An empty folder. On an error it is removed and ``path`` stays as it was.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, never NaN."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; to be called under the folder's lock."""
    if is_remote(folder):  # nothing half-written appears there
        return
    for leftover in folder.glob(".*.tmp*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def output_lock(folder: Path) -> Iterator[None]:
    """Hold an output folder for one process.

    The lock is the operating system's: one that a killed process held blocks nobody. A URL is
    locked for this machine alone: processes of others are not seen.

    Raises
    ------
    OutputError
        When another process holds it, or the folder cannot be made or written.
    """
    try:
        lock = FileLock(_lock_path(folder))
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{folder}: another hpacells process is writing here. Wait for it, or choose another "
            "folder."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write here ({error.strerror or error}). Choose another output "
            "folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _lock_path(folder: Path) -> Path:
    if is_remote(folder):
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        write_content(folder / ".lock", b"")  # says now, not after hours, whether it can be written
        return Path(gettempdir()) / f"hpacells-{name}.lock"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ".lock"
