"""Progress on a terminal as a bar with rate and time left, elsewhere as plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hpacells.core.progress import ProgressCallback

__all__ = ["show_progress"]

_PLAIN_EVERY_S = 10.0


@contextmanager
def show_progress(title: str, unit: str = "fields") -> Iterator[ProgressCallback]:
    """Show progress on standard error while the block runs.

    Parameters
    ----------
    title
        What is being done.
    unit
        What is counted, in the plural.

    Yields
    ------
    callable
        To be called with (done, total, what).
    """
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield _plain_lines(title, unit)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.fields[rate]}}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, rate="", what="")
        rate_of = _measure_rate()

        def update(done: int, total: int, what: str) -> None:
            rate = f"{rate_of(done):.2f}/s"
            bar.update(task, completed=done, total=total, rate=rate, what=what)

        yield update


def _plain_lines(title: str, unit: str) -> ProgressCallback:
    rate_of = _measure_rate()
    last = time.monotonic() - _PLAIN_EVERY_S

    def update(done: int, total: int, what: str) -> None:
        nonlocal last
        rate = rate_of(done)
        now = time.monotonic()
        if done < total and now - last < _PLAIN_EVERY_S:
            return
        last = now
        left = (total - done) / rate if rate > 0 else 0.0
        print(
            f"{title}: {done}/{total} {unit}, {rate:.2f}/s, {left:.0f} s left ({what})",
            file=sys.stderr,
            flush=True,
        )

    return update


def _measure_rate() -> Callable[[int], float]:
    """Give a function that turns "done so far" into a rate since its first call.

    What a continued job had done before is in its first count, and not work of this time. A count
    that falls begins another piece of work.
    """
    started = time.monotonic()
    first: int | None = None
    last = 0

    def rate_of(done: int) -> float:
        nonlocal first, last, started
        if first is not None and done < last:
            started, first = time.monotonic(), None
        if first is None:
            first = max(done - 1, 0)
        last = done
        return (done - first) / max(time.monotonic() - started, 1e-9)

    return rate_of
