"""Work on many items side by side, a bounded number at a time, on threads.

The libraries under it (OpenCV, SciPy, ONNX Runtime, Arrow) release the interpreter's lock, so
threads share the cores and one copy of the network.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hpacells.core.pools import keep_in_flight

__all__ = ["StopSignal", "Stopped", "side_by_side"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):  # noqa: N818  not an error: the work is being ended
    """Ends an item's work between two of its steps."""


class StopSignal:
    """Asks workers to end; they look at it between their steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask."""
        self._event.set()

    def check(self) -> None:
        """Raise ``Stopped`` when it was asked."""
        if self._event.is_set():
            raise Stopped


def side_by_side(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    stop: StopSignal,
) -> Generator[tuple[Item, Result]]:
    """Give each item with its result, as they finish; at most ``workers`` are in flight.

    Parameters
    ----------
    work
        Called once per item, on a worker's thread.
    items
        In the order in which they are begun.
    workers
        Threads.
    stop
        Set when the work ends early: an item's work raised, or the caller left (Ctrl-C). Then no
        further item is begun and those in flight are waited for, to their next step.

    Yields
    ------
    tuple
        Item and result.
    """
    with ThreadPoolExecutor(workers, "field") as pool:
        try:
            yield from keep_in_flight(lambda item: pool.submit(work, item), items, limit=workers)
        finally:
            stop.set()
