"""Who may talk to the server: this machine's own page, or whoever was given the token.

Another page in the same browser could send requests here. So a request must name this server as
its host (a foreign name that resolves here is refused), must not come from another origin, and,
where the server listens to other machines, must bring the token that was printed: once in the
address, later as a cookie.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

__all__ = ["LOCAL_HOSTS", "Access", "add_guard"]

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BODY = 64 * 1024
"""Bytes; a word is far smaller."""

_HEADERS = {
    # the viewer sets positions by style attributes; everything else is a file of this server
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may talk to the server.

    Parameters
    ----------
    token
        What every request must bring; None: nothing.
    hosts
        Names under which the server may be asked; None: any, as the token keeps strangers out.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOCAL_HOSTS

    def refuse(self, request: Request) -> Response | None:
        """Give the answer to a request that may not pass, or the one that hands out the cookie."""
        host = request.headers.get("host", "")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            return _refusal(HTTPStatus.FORBIDDEN, "this server is not asked under that host name")
        if _is_foreign(request, host):
            return _refusal(HTTPStatus.FORBIDDEN, "requests of other pages are refused")
        if self.token is not None:
            given = request.query_params.get("token") if request.url.path == "/" else None
            cookie = f"hpacells_review_{request.url.port or 80}"
            if given is not None and _same(given, self.token):
                answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
                answer.set_cookie(cookie, self.token, httponly=True, samesite="lax")
                return answer
            if not _same(request.cookies.get(cookie, ""), self.token):
                return _refusal(
                    HTTPStatus.UNAUTHORIZED,
                    "open the whole address that 'hpacells review' printed, with its token",
                )
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY or "transfer-encoding" in request.headers:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too much was sent")
        return None


def add_guard(app: FastAPI, access: Access) -> None:
    """Let every request to the app pass the guard, and every answer carry its headers."""

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = access.refuse(request) or await go_on(request)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def _is_foreign(request: Request, host: str) -> bool:
    """Say whether a browser sent a request for a page of another origin."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{host}":
        return True
    is_navigation = request.headers.get("sec-fetch-mode") == "navigate" and request.url.path == "/"
    site = request.headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") and not is_navigation


def _host_name(host: str) -> str | None:
    """Give the name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _refusal(status: HTTPStatus, why: str) -> Response:
    return JSONResponse({"detail": why}, status)
