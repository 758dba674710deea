"""Threads that the numerical libraries would start by themselves.

A library that knows nothing of the workers beside it starts a thread per core for a product of
small matrices, and its threads then wait for more by spinning: with two workers on two cores that
took a tenth of a run's time. With one thread a product is also rounded alike on every machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from threadpoolctl import threadpool_limits

__all__ = ["keep_library_threads", "library_threads"]


@contextmanager
def library_threads(opencv: int = 1) -> Iterator[None]:
    """Keep BLAS (of the libraries loaded by then) to one thread, OpenCV to ``opencv``."""
    before = cv2.getNumThreads()
    with keep_library_threads(opencv):
        try:
            yield
        finally:
            cv2.setNumThreads(before)


def keep_library_threads(opencv: int = 1) -> threadpool_limits:
    """Do the same until this process ends, in a worker that does nothing else.

    Returns
    -------
    threadpoolctl.threadpool_limits
        Gives BLAS its threads back, as a context manager.
    """
    cv2.setNumThreads(opencv)
    return threadpool_limits(limits=1, user_api="blas")
