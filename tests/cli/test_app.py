"""What ``main`` does with what goes wrong: one clear message and the right exit code."""

import errno
from types import SimpleNamespace

import pytest
import typer

from hpacells.cli import app as module
from hpacells.core.errors import TableError


def _run_raising(error, monkeypatch):
    app = typer.Typer(add_completion=False)

    @app.command()
    def run() -> None:
        raise error

    monkeypatch.setattr(module, "import_module", lambda name: SimpleNamespace(app=app))
    with pytest.raises(SystemExit) as ended:
        module.main(["run"])
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (TableError("train.csv row 3: expected, got"), 2, "error: train.csv row 3: expected, got"),
        (KeyboardInterrupt(), 130, "the same command continues"),
        (OSError(errno.ENOSPC, "No space left", "out/x"), 2, "error: out/x: the disk is full"),
        (PermissionError(errno.EACCES, "denied", "out"), 2, "error: out: no permission"),
        (OSError(errno.EROFS, "read-only", "out"), 2, "read-only"),
        # these came with a traceback, a rename's with the temporary name
        (IsADirectoryError(errno.EISDIR, "", ".a.tmp", None, "a"), 2, "error: a: expected a file"),
        (FileExistsError(errno.EEXIST, "exists", "a"), 2, "error: a: expected a folder"),
        (OSError(errno.ENAMETOOLONG, "long", "a"), 2, "error: a: the name is too long"),
        (typer.Exit(1), 1, ""),
        (typer.Exit(0), 0, ""),
    ],
)
def test_exit_codes_and_messages(error, code, told, monkeypatch, capsys):
    assert _run_raising(error, monkeypatch) == code
    printed = capsys.readouterr().err
    assert told in printed
    assert "Traceback" not in printed


def test_the_unforeseen_exits_2_with_its_traceback(monkeypatch, capsys):
    assert _run_raising(ZeroDivisionError("boom"), monkeypatch) == 2
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "unforeseen" in printed
