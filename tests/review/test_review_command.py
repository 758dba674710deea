import importlib.util

import pytest
from typer.testing import CliRunner

from hpacells.cli import review as command
from hpacells.core.corrections import Action, read_corrections
from hpacells.core.errors import InputError, MissingExtraError
from hpacells.review.words import open_words


def invoke(*arguments):
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


def test_export_writes_what_was_said_while_the_server_goes_on(run_folder, say):
    store = open_words(run_folder)  # as a server has it
    words = [
        say(("plain", 1)),
        say(("plain", 1), "ben", Action.CORRECT, locations=(2,)),
        say(("plain", 2), locations=(2,)),
        say(("plain", 2), "ben", locations=(2,)),
        say(("gone", 1)),
    ]
    for word in words:
        store.save(word)
    result = invoke(run_folder, "--export")
    store.close()
    assert result.exit_code == 0
    assert "up to date (4 changed)" in result.output
    assert "anna: 2 cells." in result.output
    assert "anna and ben judged 2 cells both, 1 alike" in result.output
    assert "mean over locations: 0.00" in result.output
    assert len(read_corrections(run_folder)) == 4
    assert "up to date (0 changed)" in invoke(run_folder, "--export").output


def test_export_of_nothing_writes_nothing(run_folder):
    result = invoke(run_folder, "--export")
    assert "nothing was said of any cell yet" in result.output
    assert not (run_folder / "corrections.parquet").exists()


def test_without_the_extra_the_page_is_refused_and_export_is_not(run_folder, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name == "fastapi" else real(name)
    )
    result = invoke(run_folder)
    assert isinstance(result.exception, MissingExtraError)
    assert "fastapi, not installed" in str(result.exception)
    assert "hpacells[review]" in str(result.exception)
    assert invoke(run_folder, "--export").exit_code == 0


def test_a_half_done_run_is_an_input_error(run_folder):
    (run_folder / "run.json").unlink()
    assert isinstance(invoke(run_folder).exception, InputError)


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_misuse(run_folder, port):
    result = invoke(run_folder, "--port", port)
    assert result.exit_code == 2
    assert "--port" in result.output


def test_the_token_comes_with_a_warning(capsys):
    from hpacells.review.serve import Opened  # noqa: PLC0415

    command._tell_address(Opened("http://lab:1/?token=x", 3, "they moved"))
    out, error = capsys.readouterr()
    assert "3 cells to review. Open http://lab:1/?token=x" in out
    assert "not encrypted" in out
    assert "previews are shown: they moved" in error
