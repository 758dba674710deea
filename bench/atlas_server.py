"""A small atlas on this machine: entries and images of the real shape, and every way to fail.

Used by ``bench/download.py`` and by the tests of the downloader. A trouble is a word per request of
a path, taken from the front of its list; a path in ``absent`` is 404 for ever.
"""

import gzip
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import tifffile

from hpacells.core.channels import CHANNELS

PASSING = (
    "429",
    "500",
    "503",
    "truncated",
    "cut",
    "reset",
    "redirect",
    "slow",
    "page",
    "damaged",
)
"""Troubles that pass: the next attempt may succeed. A redirect or a slow answer is one already."""

_BRING_CONTENT = ("truncated", "cut", "slow", "damaged")


class FakeAtlas(ThreadingHTTPServer):
    """Serves ``files`` (path to bytes) with ``troubles`` (path to a list of words)."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.troubles: dict[str, list[str]] = {}
        self.absent: set[str] = set()
        self.genes: list[dict[str, object]] = []
        self.search_answer = b""
        self.asked: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.slow_s = 0.02
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.server_port}"

    def add_field(self, number: int, stem: str, *, seed: int, tif: bool = False) -> list[str]:
        """Serve a field's four stains; give their paths."""
        paths = []
        for position, channel in enumerate(CHANNELS):
            grey = draw_stain(seed, position)
            path = f"/{number}/{stem}_{channel.value}" + (".tif.gz" if tif else ".jpg")
            self.files[path] = encode_tif(grey) if tif else encode_jpeg(grey)
            paths.append(path)
        return paths

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over connections that break off: they are what this server is for."""


@contextmanager
def serving() -> Iterator[FakeAtlas]:
    """Serve while the block lasts."""
    server = FakeAtlas()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def draw_stain(seed: int, position: int) -> np.ndarray:
    """Draw a small smooth grey image ``(48, 64)``, another for every seed and stain."""
    noise = np.random.default_rng((seed, position)).integers(0, 256, (48, 64)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def encode_jpeg(grey: np.ndarray) -> bytes:
    """Encode as the atlas's JPEGs are."""
    return cv2.imencode(".jpg", grey)[1].tobytes()


def encode_tif(grey: np.ndarray) -> bytes:
    """Encode as a gzipped 16-bit TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, grey.astype(np.uint16) * 257)
    return gzip.compress(file.getvalue())


def entry_xml(
    gene: str,
    name: str,
    antibodies: Sequence[tuple[str, Sequence[tuple[str, Sequence[str], Sequence[str]]]]],
) -> bytes:
    """Write a gene's entry: antibodies with (cell line, locations, image addresses)."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<proteinAtlas xmlns:xsi="http://www.w3.org/2001/'
        'XMLSchema-instance" schemaVersion="2.7">\n'
        f'<entry version="25.0" url="http://v25.proteinatlas.org/{gene}"><name>{name}</name>'
        f'<identifier id="{gene}" db="Ensembl" version="109.38"/>'
        '<tissueExpression source="HPA" technology="IHC"><data><tissue>Liver</tissue><assayImage>'
        "<image><imageUrl>http://images.proteinatlas.org/1/2_A_1_1.jpg</imageUrl></image>"
        "</assayImage></data></tissueExpression>"
        '<cellExpression source="HPA" technology="ICC/IF"><verification type="reliability">enhanced'
        "</verification><data><location>nucleoplasm</location></data></cellExpression>"
    ]
    for antibody, lines in antibodies:
        parts.append(
            f'<antibody id="{antibody}" releaseVersion="12"><cellExpression source="HPA" '
            'technology="ICC/IF"><subAssay type="human" subtype="human cell lines">'
            '<verification type="validation">Supported</verification>'
        )
        for line, locations, urls in lines:
            parts.append(f'<data><cellLine cellosaurusID="CVCL_0042">{line}</cellLine>')
            parts += [
                f'<location GOId="GO:1" status="main">{term}</location>' for term in locations
            ]
            parts += [
                f'<assayImage><image imageType="selected"><channel color="blue">nucleus</channel>'
                f"<imageUrl>{url}</imageUrl></image></assayImage>"
                for url in urls
            ]
            parts.append("</data>")
        parts.append(
            '</subAssay><subAssay type="mouse"><data><cellLine>NIH 3T3</cellLine><location>cytosol'
            "</location><assayImage><image><imageUrl>http://images.proteinatlas.org/9/9_A1_9_blue_"
            "red_green.jpg</imageUrl></image></assayImage></data></subAssay></cellExpression>"
            "</antibody>"
        )
    return "".join([*parts, "</entry></proteinAtlas>"]).encode()


def composite_url(number: int, stem: str) -> str:
    """Give the address of a field as an entry has it."""
    return f"http://images.proteinatlas.org/{number}/{stem}_blue_red_green.jpg"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeAtlas

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.server.lock:
            self.server.asked[path] += 1
            self.server.agents.add(self.headers.get("User-Agent", ""))
            waiting = self.server.troubles.get(path, [])
            trouble = waiting.pop(0) if waiting else ""
        if path == "/api/search_download.php":
            self._search()
        elif trouble and not (path in self.server.absent and trouble in _BRING_CONTENT):
            self._fail(trouble, path.removeprefix("/moved"))
        else:
            self._serve(path.removeprefix("/moved"))

    def _serve(self, path: str) -> None:
        content = self.server.files.get(path)
        if content is None or path in self.server.absent:
            self._answer(404, b"no such file")
            return
        with self.server.lock:  # before the client can know that it is whole
            self.server.served[path] += 1
        self._answer(200, content)

    def _search(self) -> None:
        word = parse_qs(urlsplit(self.path).query)["search"][0].lower()
        rows = [row for row in self.server.genes if word in json.dumps(row).lower()]
        self._answer(200, self.server.search_answer or json.dumps(rows).encode())

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _fail(self, trouble: str, path: str) -> None:
        content = self.server.files.get(path, b"")
        half = content[: len(content) // 2]
        if trouble == "429":
            self._answer(429, b"slow down", Retry_After="0")
        elif trouble == "503":
            self._answer(503, b"", Retry_After=formatdate(time.time(), usegmt=True))
        elif trouble.isdigit():
            self._answer(int(trouble), b"trouble")
        elif trouble.startswith("wait "):
            self._answer(429, b"", Retry_After=trouble.removeprefix("wait "))
        elif trouble == "redirect":
            self._answer(302, b"", Location=f"/moved{path}")
        elif trouble.startswith("to "):
            self._answer(302, b"", Location=trouble.removeprefix("to "))
        elif trouble == "slow":
            self._drip(content, path)
        elif trouble in {"truncated", "cut", "reset"}:
            self._break_off(trouble, half, len(content))
        else:
            self._pretend(trouble, content)

    def _pretend(self, trouble: str, content: bytes) -> None:
        """Answer as if all were well, with something else."""
        if trouble == "compressed":
            self._answer(200, gzip.compress(content), Content_Encoding="gzip")
        elif trouble == "damaged":
            half = len(content) // 2
            self._answer(200, content[:half] + bytes(len(content) - half))
        else:
            self._answer(200, b"<html>We are back soon.</html>")

    def _drip(self, content: bytes, path: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        step = max(1, len(content) // 8)
        for start in range(0, len(content), step):
            time.sleep(self.server.slow_s)
            if start + step >= len(content):
                with self.server.lock:
                    self.server.served[path] += 1
            self.wfile.write(content[start : start + step])
            self.wfile.flush()

    def _break_off(self, trouble: str, half: bytes, length: int) -> None:
        """End early: after half of what was announced, of what was not, or before any answer."""
        self.close_connection = True
        if trouble == "reset":
            return
        self.send_response(200)
        if trouble == "truncated":
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(half)
