import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest

from hpacells.core.errors import OutputError
from hpacells.core.storage import (
    atomic_folder,
    atomic_path,
    output_lock,
    remove_leftovers,
    write_json,
)


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "a.png"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_s_name(tmp_path):
    # writing to a full disk raises without a name: the message said "the disk is full", not where
    with pytest.raises(OSError, match="full") as raised, atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "full")
    assert raised.value.filename == str(tmp_path / "a.txt")


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    for name in (".a.77.tmp.parquet", "a.parquet", ".lock"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a.parquet"]
    remove_leftovers(tmp_path / "none")


def test_json_is_sorted_readable_and_never_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": "µm", "a": [1, None]})
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith('  "a"')
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": [1, None], "b": "µm"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("inf")})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == "µm"


def test_a_folder_is_held_once_and_free_again_afterwards(tmp_path):
    folder = tmp_path / "out"
    with (
        output_lock(folder),
        pytest.raises(OutputError, match="another hpacells process"),
        output_lock(folder),
    ):
        pytest.fail("held twice")
    with output_lock(folder):
        pass


def test_a_lock_is_released_when_the_block_fails(tmp_path):
    def fail():
        with output_lock(tmp_path):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with output_lock(tmp_path):
        pass


def test_a_killed_process_blocks_nobody(tmp_path):
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from hpacells.core.storage import output_lock
        with output_lock(Path(sys.argv[1])):
            print("held", flush=True)
            sys.stdin.read()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(OutputError, match="another hpacells process"), output_lock(tmp_path):
            pytest.fail("held twice")
        holder.kill()
        holder.wait()
    with output_lock(tmp_path):
        pass


def test_a_place_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot write here"), output_lock(place):
            pytest.fail("held a file")


def test_a_folder_appears_whole_and_replaces_the_old(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "old").touch()

    def write_half():
        with atomic_folder(path) as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    with atomic_folder(path) as temporary:
        assert temporary.suffix == ".zarr"
        (temporary / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / ".b.1.tmp.zarr").mkdir()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
