"""Work on many items side by side with a bounded number of them under way.

What enters is a function and its items, what leaves is each item with its result, as they finish.
Results must not depend on how many workers there are; that is the function's affair.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from hpacells.core.errors import WorkerError
from hpacells.core.interrupts import children_ignore_interrupts
from hpacells.core.threads import keep_library_threads, library_threads

__all__ = ["in_order", "keep_in_flight", "over_processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def keep_in_flight(
    submit: Callable[[Item], Future[Result]], items: Iterable[Item], *, limit: int
) -> Generator[tuple[Item, Result]]:
    """Give each item with its result, as they finish; at most ``limit`` are under way.

    Parameters
    ----------
    submit
        Begins one item.
    items
        In the order in which they are begun; they may be made as they are asked for.
    limit
        1 or more. Nothing is begun while the caller looks at a result.

    Yields
    ------
    tuple
        Item and result. What an item's work raised is raised here.
    """
    waiting = iter(items)
    in_flight: dict[Future[Result], Item] = {}
    while True:
        for item in islice(waiting, limit - len(in_flight)):
            in_flight[submit(item)] = item
        if not in_flight:
            return
        for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
            yield in_flight.pop(future), future.result()


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int, name: str
) -> Generator[Result]:
    """Give the results of items in their order, worked out ahead in threads.

    Parameters
    ----------
    work
        Called once per item.
    items
        They may be made as they are asked for.
    threads
        Of work, 1 or more; as many results are kept ready while the caller looks at one.
    name
        Of the threads, for those who look.

    Yields
    ------
    object
        What the work gave; what it raised is raised here.
    """
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, name) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def over_processes(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Generator[tuple[Item, Result]]:
    """Give each item with its result, worked out in processes of their own.

    Parameters
    ----------
    work
        Called once per item; it, the items and the results are pickled.
    items
        In the order in which they are begun.
    workers
        Processes, 1 or more, each with one thread of OpenCV and of BLAS. 1, or a single item,
        works in this process, which has its threads back between two items.

    Yields
    ------
    tuple
        Item and result.

    Raises
    ------
    WorkerError
        When a worker process dies.

    Notes
    -----
    Processes are spawned: threads of a forked parent (torch, OpenCV) can hold locks forever. They
    ignore Ctrl-C; however the work ends, those under way are waited for before this does. Where
    this process is killed, they end at once. Close the generator (``contextlib.closing``) before a
    lock on what they write is given back.
    """
    if workers == 1 or len(items) < 2:
        for item in items:
            with library_threads():
                result = work(item)
            yield item, result
        return
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=get_context("spawn"), initializer=_begin_worker
    )

    def submit(item: Item) -> Future[Result]:
        with children_ignore_interrupts():  # a process may be started here
            return pool.submit(work, item)

    try:
        yield from keep_in_flight(submit, items, limit=2 * workers)
    except BrokenProcessPool as error:
        raise WorkerError(
            f"one of {workers} worker processes died: killed, perhaps for lack of memory. Finished "
            "work is kept: run the same command again, with fewer --workers where memory is short."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    keep_library_threads()
    Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: nobody asks for more work then."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
