"""``hpacells simulate`` from the command line."""

import pytest
from typer.testing import CliRunner

from hpacells.cli.simulate import app
from hpacells.core.errors import ConfigError, OutputError

run = CliRunner().invoke


def test_it_makes_a_dataset_and_says_where(tmp_path):
    out = tmp_path / "sim"
    options = [str(out), "--fields", "2", "--seed", "3", "--size", "256", "--pixel-size-um", "0.3"]
    result = run(app, options)
    assert result.exit_code == 0, result.output
    assert "2 fields (2 made now)" in result.output
    assert str(out) in result.output
    assert (out / "truth.csv").exists()
    again = run(app, options)
    assert again.exit_code == 0
    assert "2 fields (0 made now)" in again.output
    other = run(app, [*options[:-1], "0.2"])
    assert isinstance(other.exception, OutputError)


@pytest.mark.parametrize("options", [["--size", "100"], ["--bit-depth", "12"], ["--workers", "0"]])
def test_impossible_options_are_refused(tmp_path, options):
    result = run(app, [str(tmp_path / "sim"), "--fields", "1", "--seed", "3", *options])
    assert isinstance(result.exception, ConfigError)


def test_sixteen_bits_and_a_gallery(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hpacells.cli.simulate.write_gallery", lambda path, *, seed: path.write_bytes(b"png")
    )
    out = tmp_path / "sim"
    options = ["--fields", "1", "--seed", "3", "--size", "256", "--bit-depth", "16", "--gallery"]
    result = run(app, [str(out), *options])
    assert result.exit_code == 0, result.output
    assert (out / "gallery.png").exists()


def test_help_names_every_option():
    text = run(app, ["--help"]).output
    for option in ("--fields", "--seed", "--size", "--pixel-size-um", "--bit-depth", "--gallery",
                   "--class-frequencies", "--workers"):  # fmt: skip
        assert option in text
