from pathlib import Path

import pytest

from hpacells.core import location as location_module
from hpacells.core.errors import InputError, MissingExtraError, OutputError
from hpacells.core.location import is_remote, naming_remote_errors, open_location
from hpacells.core.storage import atomic_path, output_lock, write_json


@pytest.mark.parametrize("text", ["images", "/data/images", "./a:b/c", "C:/images"])
def test_a_path_stays_a_path(text):
    assert open_location(text) == Path(text)
    assert not is_remote(open_location(text))


def test_a_file_url_is_a_path():
    assert open_location("file:///data/x") == Path("/data/x")


def test_what_is_written_to_a_url_is_whole_or_not_there():
    pytest.importorskip("upath")
    folder = open_location("memory://shelf/run")
    assert is_remote(folder)
    write_json(folder / "a.json", {"b": 1})
    assert (folder / "a.json").read_bytes() == b'{\n  "b": 1\n}\n'

    def fail():
        with atomic_path(folder / "c.txt") as temporary:
            temporary.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert not (folder / "c.txt").exists()


def test_a_url_is_locked_on_this_machine():
    pytest.importorskip("upath")
    folder = open_location("memory://shelf/locked")
    with (
        output_lock(folder),
        pytest.raises(OutputError, match="another hpacells process"),
        output_lock(folder),
    ):
        pass


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setattr(location_module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'\.\[cloud\]'"):
        open_location("s3://bucket/images")


def test_a_url_that_nothing_here_opens_is_refused():
    pytest.importorskip("upath")
    with pytest.raises(InputError, match="nonsense://x: cannot be opened"):
        open_location("nonsense://x")


def test_a_service_s_own_error_becomes_an_os_error():
    pytest.importorskip("upath")
    remote = open_location("memory://shelf/x")

    class ServiceError(Exception):
        pass

    with pytest.raises(OSError, match="ServiceError: gone") as raised, naming_remote_errors(remote):
        raise ServiceError("gone")
    assert raised.value.filename == "memory://shelf/x"
    with pytest.raises(ServiceError), naming_remote_errors(Path("x")):
        raise ServiceError("gone")
    with pytest.raises(InputError), naming_remote_errors(remote):
        raise InputError("said")
