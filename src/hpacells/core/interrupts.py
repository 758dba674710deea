"""Ctrl-C with worker processes: it ends the parent alone, each worker finishes its field.

A terminal sends the interrupt to all processes at once. A worker that still loads its libraries
would answer with a traceback; one that is born deaf to interrupts does not.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["children_ignore_interrupts"]


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Let processes that are started in this block ignore interrupts for their whole life.

    Nothing happens outside the main thread, which alone may change how signals are handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
