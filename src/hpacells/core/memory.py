"""How long the C library keeps memory that was given back to it.

As a rule it returns a large array's memory to the kernel at once, and gets it back for the next
array page by page, each filled with zeros: with arrays of some megabytes by the dozen for every
field, that alone was a tenth of a run's processor time.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keeping_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt`` (malloc.h)."""

_LARGEST_KEPT = 32 * 2**20
"""Bytes of an array, the most that glibc allows; larger ones go back as before."""
_MOST_KEPT = 2**30
_DEFAULT_TRIM = 128 * 2**10


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep freed memory for the arrays to come, up to 1 GiB; at the end give it back.

    Threads share it: one arena, for those that have none of their own yet. Where the C library
    is not glibc nothing is changed.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_ARENA_MAX, 1)
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, _DEFAULT_TRIM)
        library.malloc_trim(0)
