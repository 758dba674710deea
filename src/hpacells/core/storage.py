"""Files that are whole or not there: atomic replacement, and a lock that dies with its owner."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hpacells.core.errors import OutputError

__all__ = ["atomic_path", "output_lock", "remove_leftovers", "write_json"]


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
        names no file gets the name of ``path``.
    """
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


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces, never NaN."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; to be called under the folder's lock."""
    for leftover in folder.glob(".*.tmp*"):
        leftover.unlink(missing_ok=True)


@contextmanager
def output_lock(folder: Path) -> Iterator[None]:
    """Hold an output folder for one process.

    The lock is the operating system's: one that a killed process held blocks nobody.

    Raises
    ------
    OutputError
        When another process holds it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{folder}: another hpacells process is writing here. Wait for it, or choose another "
            "folder."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write here ({error.strerror}). Choose another output folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
