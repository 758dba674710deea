"""One polite HTTP client of the atlas: whole answers of allowed hosts, or an error that says why.

Retried, with a growing wait: no connection, timeouts, an answer that breaks off, content that is
not what was asked, 408, 425, 429 and 5xx; ``Retry-After`` holds every thread. Not retried: 404 and
410 (there is no such file), other 4xx, redirects away from the site. Answers have a limit of size
and of time; compressed transfer is never asked for, and refused, for it could be a bomb.
"""

import time
from collections.abc import Callable
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader

from hpacells import __version__
from hpacells.core.errors import InputError
from hpacells.images.download.pace import Pace
from hpacells.images.download.site import Site

__all__ = ["AbsentError", "AtlasClient", "FetchError"]

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_ABSENT = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_CHUNK = 1 << 16
_LONGEST_HOLD_S = 600.0
_HEADERS = {"User-Agent": f"hpacells/{__version__}", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """An address could not be fetched; says why."""


class AbsentError(FetchError):
    """The server says that there is no such file."""


class _PassingError(FetchError):
    """A failure that may pass: worth another attempt."""


class AtlasClient:
    """Fetches from one site.

    Parameters
    ----------
    site
        What may be asked.
    pace
        Shared by all threads.
    connections
        Kept open, one per thread.
    attempts
        Per address.
    timeout_s
        Until a connection stands, and until the next piece of an answer comes.
    longest_s
        For one answer as a whole.
    """

    def __init__(
        self,
        site: Site,
        pace: Pace,
        *,
        connections: int = 4,
        attempts: int = 6,
        timeout_s: float = 30.0,
        longest_s: float = 600.0,
    ) -> None:
        self.site = site
        self.pace = pace
        self._attempts = attempts
        self._longest_s = longest_s
        self._pool = urllib3.PoolManager(
            num_pools=4,
            maxsize=connections,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
        )

    def fetch(self, url: str, *, max_bytes: int, check: Callable[[bytes], None]) -> bytes:
        """Fetch one address.

        Parameters
        ----------
        url
            Of the client's site.
        max_bytes
            Largest answer that is taken.
        check
            Raises ``InputError`` when the content is not what was asked.

        Returns
        -------
        bytes
            Whole and checked.

        Raises
        ------
        AbsentError
            The server says that there is no such file.
        FetchError
            It cannot be fetched.
        StoppedError
            The work is to end.
        """
        reason = ""
        for attempt in range(self._attempts):
            if attempt:
                self.pace.back_off(attempt - 1)
            try:
                content = self._ask(url, max_bytes)
                check(content)
            except (_PassingError, InputError, HTTPError, OSError) as error:
                reason = f"{error}"
            else:
                return content
        raise FetchError(f"{self._attempts} attempts, the last: {reason}")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(self, url: str, max_bytes: int) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            if not self.site.allows(url):
                raise FetchError(f"leads to {url}, which is not an address of the atlas")
            self.pace.wait_turn()
            response = self._pool.request(
                "GET", url, headers=_HEADERS, redirect=False, preload_content=False
            )
            try:
                target = self._check_status(response)
                if target is None:
                    return self._read(response, max_bytes)
            except BaseException:
                response.close()  # what is left of the answer is not wanted
                raise
            response.drain_conn()
            url = urljoin(url, target)
        raise FetchError(f"redirected more than {_MAX_REDIRECTS} times")

    def _check_status(self, response: urllib3.BaseHTTPResponse) -> str | None:
        """Give the address of a redirect, None where the answer is the file."""
        status = response.status
        if status in _REDIRECTS:
            return response.headers.get("Location", "")
        if status in _ABSENT:
            raise AbsentError(f"HTTP {status}")
        if status in _RETRIED:
            self._hold(response.headers.get("Retry-After"))
            raise _PassingError(f"HTTP {status}")
        if status != 200:
            raise FetchError(f"HTTP {status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchError("a compressed answer, which was not asked for")
        return None

    def _hold(self, retry_after: str | None) -> None:
        if not retry_after:
            return
        try:
            seconds = urllib3.Retry().parse_retry_after(retry_after)
        except InvalidHeader:
            return
        if seconds > _LONGEST_HOLD_S:
            raise FetchError(f"the server asks to wait {seconds:.0f} s. Try again later")
        self.pace.hold(seconds)

    def _read(self, response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
        """Read the body; urllib3 refuses one shorter than announced."""
        until = time.monotonic() + self._longest_s
        pieces: list[bytes] = []
        n_bytes = 0
        while piece := response.read1(_CHUNK, decode_content=False):
            self.pace.check()
            n_bytes += len(piece)
            if n_bytes > max_bytes:
                raise FetchError(f"more than {max_bytes / 1e6:g} MB")
            if time.monotonic() > until:
                raise _PassingError(f"not whole after {self._longest_s:.0f} s")
            pieces.append(piece)
        response.release_conn()
        return b"".join(pieces)
