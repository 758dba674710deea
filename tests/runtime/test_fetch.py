"""A download that breaks off, is continued, meets a changed file or a full disk."""

import hashlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError

import pytest

from hpacells.core.errors import ModelError, OutputError
from hpacells.runtime import cache, fetch
from hpacells.runtime.published_weights import (
    PublishedFile,
    PublishedWeights,
    install_weights,
    remove_weights,
)

FIRST, SECOND = b"first" * 200_000, b"other" * 200_000


class _Server(ThreadingHTTPServer):
    """Gives one file; ``breaks`` says after how many bytes the connection ends."""

    content, etag, breaks, ranges = FIRST, '"1"', None, True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        same = self.headers.get("If-Range") == server.etag
        start = int(wanted[6:-1]) if wanted and same and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(server.content[start : server.breaks])


@pytest.fixture
def server():
    made = _Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights_of(server, sha256=None):
    url = f"http://127.0.0.1:{server.server_address[1]}/a.pt"
    return PublishedWeights("w", "t", "MIT", "n", (PublishedFile("a.pt", url, sha256),))


def break_off(server, weights, after=600_000):
    server.breaks = after
    with pytest.raises(ModelError) as caught:
        install_weights(weights, tell=str)
    server.breaks = None
    return str(caught.value)


def test_a_broken_download_is_continued(server, cache_folder):
    weights = weights_of(server, hashlib.sha256(FIRST).hexdigest())
    told = []
    assert "0.6 MB are kept: the same command continues" in break_off(server, weights)
    assert not (cache_folder / "w" / "a.pt").exists()
    (path,) = install_weights(weights, tell=str, progress=lambda *now: told.append(now)).values()
    assert path.read_bytes() == FIRST
    assert server.asked == [None, "bytes=600000-"]
    assert told[-1] == (1, 1, "a.pt")
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.pt"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server):
    weights = weights_of(server)
    break_off(server, weights)
    server.content, server.etag = SECOND, '"2"'
    (path,) = install_weights(weights, tell=str).values()
    assert path.read_bytes() == SECOND


def test_a_server_without_ranges_gives_it_whole_again(server):
    weights = weights_of(server)
    break_off(server, weights)
    server.ranges = False
    (path,) = install_weights(weights, tell=str).values()
    assert path.read_bytes() == FIRST


def test_without_a_validator_nothing_is_kept(server, cache_folder):
    server.etag = None
    assert "are kept" not in break_off(server, weights_of(server))
    assert not (cache_folder / "w").exists()


def test_a_refusal_leaves_no_connection_open(server):
    """Else the socket is closed whenever memory is tidied, with a warning in another test."""
    server.content, refused = b"", []

    def opener(url, headers):
        try:
            return fetch.open_url(url, headers)
        except HTTPError as error:
            refused.append(error)
            raise

    with pytest.raises(ModelError, match="cannot be fetched"):
        install_weights(weights_of(server), tell=str, opener=opener)
    assert [error.fp.closed for error in refused] == [True]


def test_a_part_longer_than_the_file_is_forgotten(server, cache_folder):
    weights = weights_of(server)
    break_off(server, weights)
    server.content = FIRST[:1000]
    (path,) = install_weights(weights, tell=str).values()
    assert path.read_bytes() == FIRST[:1000]


def test_removal_takes_the_part_too(server, cache_folder):
    weights = weights_of(server)
    break_off(server, weights)
    assert remove_weights(weights) == 0
    assert not (cache_folder / "w").exists()


def test_no_room_is_said_before_anything_is_written(server, cache_folder, monkeypatch):
    full = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: full)
    with pytest.raises(OutputError, match="expected room for 1 MB, there are 0 MB"):
        install_weights(weights_of(server), tell=str)
    assert not (cache_folder / "w").exists()


def test_a_disk_that_fills_up_keeps_nothing_installed(server, cache_folder, monkeypatch):
    def fill_up(source, part, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "_receive", fill_up)
    with pytest.raises(OutputError, match="the disk is full"):
        install_weights(weights_of(server), tell=str)
    assert not (cache_folder / "w").exists()


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPACELLS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="Name another cache folder"):
        install_weights(weights_of(server), tell=str)


def test_a_lock_is_held_by_one_and_may_be_asked_for_twice(cache_folder):
    told = []
    with cache.cache_lock("w", told.append), cache.cache_lock("w", told.append):
        waiting = threading.Thread(target=lambda: cache.cache_lock("w", told.append).__enter__())
        waiting.daemon = True
        waiting.start()
        for _ in range(100):
            if told:
                break
            threading.Event().wait(0.05)
    waiting.join(timeout=10)
    assert told == ["w: another hpacells process is installing it; waiting for that one."]
    assert (cache_folder / ".w.lock").stat().st_mode & 0o666 == 0o666
