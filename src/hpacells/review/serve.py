"""A review from the lock to the last word: one server for a run at a time, on one port."""

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EADDRINUSE
from pathlib import Path
from urllib.parse import quote

import uvicorn
from filelock import Timeout

from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.fov import FovRecord
from hpacells.core.storage import output_lock, write_json
from hpacells.export.run_images import find_run_images
from hpacells.export.run_reader import FinishedRun
from hpacells.predict.plan import count_cores
from hpacells.review.app import ReviewTools, make_app
from hpacells.review.cells import ReviewCells, read_cells
from hpacells.review.config import ReviewSettings, ServerSettings
from hpacells.review.guard import LOCAL_HOSTS, Access
from hpacells.review.pictures import CellPictures
from hpacells.review.session import ReviewSession
from hpacells.review.words import REVIEW, open_words

__all__ = ["Opened", "serve_review"]

_SERVER_FILE = "server.json"


@dataclass(frozen=True)
class Opened:
    """What is said when the page can be opened.

    Parameters
    ----------
    address
        Of the page, with the token where one is asked for.
    n_cells
        That can be reviewed.
    images_missing
        Why the run's images cannot be shown, so that previews are; None: they are.
    """

    address: str
    n_cells: int
    images_missing: str | None


def serve_review(
    run_folder: Path,
    server: ServerSettings,
    *,
    images: Path | None = None,
    on_open: Callable[[Opened], None],
) -> None:
    """Serve the review of a run until Ctrl-C.

    Parameters
    ----------
    run_folder
        A finished run.
    server
        Where.
    images
        Where the run's images lie now; None: where they were, or else its previews are shown.
    on_open
        Told once when the page can be opened.

    Raises
    ------
    InputError
        When the run cannot be reviewed, or ``images`` are not its images.
    OutputError
        When another server holds the run, or its folder cannot be written.
    ConfigError
        When the address cannot be listened on, or the port is busy.
    """
    cells = read_cells(run_folder)
    records, images_missing = _find_images(cells, images)
    settings = ReviewSettings()
    n_cutters = max(1, count_cores() - 1)  # one core is for the browser, or for the next word
    is_local = server.host in LOCAL_HOSTS
    access = Access() if is_local else Access(secrets.token_urlsafe(24), hosts=None)
    with (
        _only_server(run_folder),
        _listening(server) as listener,
        ThreadPoolExecutor(n_cutters, thread_name_prefix="cut") as cutters,
    ):
        store = open_words(run_folder)
        try:
            pictures = CellPictures(cells, records, settings)
            tools = ReviewTools(ReviewSession(cells, store), pictures, cutters, settings)
            app = make_app(tools, access)
            address = _address(server.host, listener, access.token)
            write_json(run_folder / REVIEW / _SERVER_FILE, {"address": address.partition("?")[0]})
            on_open(Opened(address, len(cells), images_missing))
            _run_server(app, listener)
        finally:
            store.close()
            (run_folder / REVIEW / _SERVER_FILE).unlink(missing_ok=True)


def _run_server(app: object, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return  # the way to end it


def _find_images(
    cells: ReviewCells, images: Path | None
) -> tuple[dict[str, FovRecord], str | None]:
    if "images" not in cells.provenance and images is None:
        return {}, f"{cells.run_folder}: the run does not say where its images are."
    run = FinishedRun(cells.run_folder, cells.provenance, cells.digest, len(cells.fields), 0, 0)
    try:
        return find_run_images(run, images), None
    except (InputError, OSError) as error:
        if images is not None:
            raise
        return {}, str(error)


@contextmanager
def _only_server(run_folder: Path) -> Iterator[None]:
    """Hold the review of a run, so that no two servers write its words."""
    folder = run_folder / REVIEW
    with ExitStack() as stack:
        try:
            stack.enter_context(output_lock(folder))
        except OutputError as error:
            known = folder / _SERVER_FILE
            if not isinstance(error.__cause__, Timeout) or not known.is_file():
                raise
            address = json.loads(known.read_text(encoding="utf-8"))["address"]
            raise OutputError(
                f"{run_folder}: another server reviews this run already. Open {address}: several "
                "people can work there at a time."
            ) from error
        yield


@contextmanager
def _listening(server: ServerSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((server.host, server.port))
            listener.listen(128)
        except OSError as error:
            if error.errno == EADDRINUSE:
                raise ConfigError(
                    f"--port {server.port}: expected a free port, another program listens there. "
                    "Choose another, or --port 0 for any free one."
                ) from error
            raise ConfigError(
                f"--host {server.host} --port {server.port}: expected an address of this machine, "
                f"it cannot be listened on ({error.strerror or error})."
            ) from error
        yield listener


def _address(host: str, listener: socket.socket, token: str | None) -> str:
    """Give the address to open: of a server that listens everywhere, under this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    query = "" if token is None else f"?token={quote(token)}"
    return f"http://{name}:{listener.getsockname()[1]}/{query}"
