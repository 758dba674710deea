"""The cache folder of published models: where it is, and who may change it now.

The cache is ``$HPACELLS_CACHE``, else ``$XDG_CACHE_HOME/hpacells``, else ``~/.cache/hpacells``.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hpacells.core.errors import OutputError
from hpacells.runtime.fetch import no_room

__all__ = ["DISK_FULL", "cache_folder", "cache_lock", "output_error", "remove_empty"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when there is no room, for all or for this user."""

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Give the folder that published weights are kept in; it need not exist."""
    if own := os.environ.get("HPACELLS_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hpacells"


@contextmanager
def cache_lock(name: str, tell: Callable[[str], None] = _log.warning) -> Iterator[None]:
    """Hold a folder of the cache for one process; others, of other users too, wait for it.

    The lock is the operating system's: one that a killed process held blocks nobody. The process
    that holds it may ask for it again.

    Raises
    ------
    OutputError
        When the cache cannot be written.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # any user of a shared cache may hold it next; one lock a process, so that it may ask twice
        lock = FileLock(folder / f".{name}.lock", mode=0o666, is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"{name}: another hpacells process is installing it; waiting for that one.")
            lock.acquire()
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def output_error(folder: Path, error: OSError) -> OutputError:
    """Give the error that says why a folder of the cache cannot be written."""
    if error.errno in DISK_FULL:
        return no_room(folder)
    return OutputError(
        f"{folder}: cannot write here ({error.strerror or error}). Name another cache folder "
        "by HPACELLS_CACHE."
    )


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty."""
    with suppress(OSError):  # something lies in it, or it was never made
        folder.rmdir()
