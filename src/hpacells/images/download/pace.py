"""How fast a server is asked: one rate for all threads, and one pause when it asks for one."""

import random
import threading
import time

__all__ = ["Pace", "StoppedError"]


class StoppedError(Exception):
    """The work was interrupted while it waited."""


class Pace:
    """Spaces the requests of all threads.

    Parameters
    ----------
    rate_per_s
        Requests a second, all threads together.
    backoff_s
        Mean wait before the second attempt; it doubles with each further one.
    """

    def __init__(self, rate_per_s: float, *, backoff_s: float = 1.0) -> None:
        self._gap_s = 1.0 / rate_per_s
        self._backoff_s = backoff_s
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait_turn(self) -> None:
        """Wait until the next request may go.

        Raises
        ------
        StoppedError
            The work is to end.
        """
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap_s
        self._sleep(at - now)

    def hold(self, seconds: float) -> None:
        """Let no request of any thread go for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def back_off(self, attempt: int) -> None:
        """Wait after a failed attempt, counted from 0: twice as long each time, 50 % up or down.

        Raises
        ------
        StoppedError
            The work is to end.
        """
        self._sleep(self._backoff_s * 2**attempt * random.uniform(0.5, 1.5))

    def stop(self) -> None:
        """End the waiting of all threads."""
        self._stopped.set()

    def check(self) -> None:
        """Raise ``StoppedError`` where the work is to end."""
        self._sleep(0)

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(max(seconds, 0)):
            raise StoppedError
