import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from hpacells.core.corrections import read_corrections
from hpacells.core.errors import ConfigError, InputError, OutputError
from hpacells.core.storage import output_lock, write_json
from hpacells.review import serve
from hpacells.review.config import ServerSettings
from hpacells.review.serve import serve_review
from hpacells.review.words import REVIEW, open_words

ANY_PORT = ServerSettings(port=0)


@pytest.fixture
def opened(monkeypatch):
    """Servers end as soon as they are open; what they said is listed."""
    told = []
    monkeypatch.setattr(serve, "_run_server", lambda app, listener: None)
    return told


def test_the_address_and_what_can_be_seen_are_told(run_folder, opened):
    serve_review(run_folder, ANY_PORT, on_open=opened.append)
    (told,) = opened
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", told.address)
    assert (told.n_cells, told.images_missing) == (6, None)
    assert not (run_folder / REVIEW / "server.json").exists()


def test_another_address_asks_for_a_token(run_folder, opened):
    for _ in range(2):
        serve_review(run_folder, ServerSettings(host="0.0.0.0", port=0), on_open=opened.append)
    tokens = {re.search(r"\?token=([\w-]{32})$", told.address)[1] for told in opened}
    assert len(tokens) == 2
    assert all(f"http://{socket.gethostname()}:" in told.address for told in opened)


def test_images_that_moved_are_told_and_found_where_they_lie_now(run_folder, opened, tmp_path):
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    serve_review(run_folder, ANY_PORT, on_open=opened.append)
    assert "images" in opened[0].images_missing
    serve_review(run_folder, ANY_PORT, images=tmp_path / "elsewhere", on_open=opened.append)
    assert opened[1].images_missing is None
    with pytest.raises(InputError, match="the run's images"):
        serve_review(run_folder, ANY_PORT, images=tmp_path / "nowhere", on_open=opened.append)


def test_a_run_that_does_not_say_where_its_images_are_is_reviewed_all_the_same(run_folder, opened):
    write_json(run_folder / "run.json", {})
    serve_review(run_folder, ANY_PORT, on_open=opened.append)
    assert "does not say where its images are" in opened[0].images_missing


def test_a_busy_port_is_told(run_folder, opened):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--port {port}: expected a free port"):
            serve_review(run_folder, ServerSettings(port=port), on_open=opened.append)
    assert opened == []


def test_an_address_of_another_machine_is_told(run_folder, opened):
    with pytest.raises(ConfigError, match=r"--host 192\.0\.2\.1 .* this machine"):
        serve_review(run_folder, ServerSettings(host="192.0.2.1", port=0), on_open=opened.append)


def test_a_second_server_on_the_same_run_is_sent_to_the_first(run_folder, opened):
    with output_lock(run_folder / REVIEW):
        with pytest.raises(OutputError, match="another hpacells process"):
            serve_review(run_folder, ANY_PORT, on_open=opened.append)
        write_json(run_folder / REVIEW / "server.json", {"address": "http://127.0.0.1:8642/"})
        with pytest.raises(OutputError, match=r"already\. Open http://127\.0\.0\.1:8642/"):
            serve_review(run_folder, ANY_PORT, on_open=opened.append)
    serve_review(run_folder, ANY_PORT, on_open=opened.append)


def run_command(run_folder, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "hpacells", "review", str(run_folder), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def test_ctrl_c_ends_the_command_with_everything_written(run_folder, say):
    store = open_words(run_folder)
    store.save(say(("plain", 1)))
    store.close()
    with run_command(run_folder) as server:
        first = server.stdout.readline()
        address = re.search(r"http://\S+", first)[0]
        with urllib.request.urlopen(address) as page:
            assert b"hpacells review" in page.read()
        request = urllib.request.Request(f"{address}api/export", method="POST")
        request.add_header("Origin", "http://evil.example")
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(request)
        refused.value.close()
        assert not (run_folder / "corrections.parquet").exists()
        server.send_signal(signal.SIGINT)
        out, error = server.communicate(timeout=60)
    assert (server.returncode, error) == (0, "")
    assert "6 cells to review" in first
    assert "corrections.parquet: up to date (1 changed)." in out
    assert "anna: 1 cells." in out
    assert [c.who for c in read_corrections(run_folder)] == ["anna"]
