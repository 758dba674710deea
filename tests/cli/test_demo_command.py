"""``hpacells demo`` from the command line, on a tiny model and the smallest fields."""

import pytest
from typer.testing import CliRunner

from hpacells.cli import demo
from hpacells.simulate.config import SimulateConfig

RUNNER = CliRunner()


@pytest.fixture
def arguments(tmp_path, tiny_model_folder, monkeypatch):
    monkeypatch.setattr(demo, "_CONFIG", SimulateConfig(size_px=256, pixel_size_um=0.4))
    return [str(tmp_path / "demo"), "--model", str(tiny_model_folder), "--fields", "1"]


def test_help_ends_with_an_example():
    result = RUNNER.invoke(demo.app, ["--help"])
    assert result.exit_code == 0
    assert "Example: hpacells demo demo/" in result.output


def test_demo_makes_images_and_a_run_and_then_has_nothing_to_do(arguments, tmp_path):
    result = RUNNER.invoke(demo.app, arguments)
    assert result.exit_code == 0
    assert "1 simulated fields" in result.output
    report = tmp_path / "demo" / "run" / "report.html"
    assert str(report) in result.output
    assert report.is_file()
    again = RUNNER.invoke(demo.app, arguments)
    assert again.exit_code == 0
    assert "nothing to do" in again.output


def test_a_folder_of_something_else_is_refused(arguments, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("words")
    result = RUNNER.invoke(demo.app, arguments)
    assert result.exit_code != 0
    assert "it holds thesis.txt" in str(result.exception)


def test_a_missing_model_is_told_before_anything_is_simulated(arguments, tmp_path):
    result = RUNNER.invoke(demo.app, [arguments[0], "--model", "nowhere"])
    assert "expected a shipped model" in str(result.exception)
    assert not (tmp_path / "demo").exists()
