"""``hpacells simulate`` from the command line."""

import pytest
from typer.testing import CliRunner

from hpacells.cli.simulate import app
from hpacells.core.errors import ConfigError, OutputError
from hpacells.simulate.gallery import GALLERY_LINES

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


def test_cell_lines_and_variation_can_be_chosen(tmp_path):
    out = tmp_path / "sim"
    options = ["--seed", "3", "--size", "256", "--pixel-size-um", "0.3", "--cell-line", "HeLa"]
    result = run(app, [str(out), "--fields", "1", *options, "--variation", "intensity"])
    assert result.exit_code == 0, result.output
    assert ",HeLa," in (out / "train.csv").read_text()
    assert ",intensity," in (out / "truth" / "fields.csv").read_text()
    other = run(app, [str(out), "--fields", "1", *options])
    assert isinstance(other.exception, OutputError)
    assert "variation" in str(other.exception)


def test_an_unknown_cell_line_names_the_known_ones(tmp_path):
    options = ["--fields", "1", "--seed", "3", "--cell-line", "HeLas"]
    result = run(app, [str(tmp_path / "sim"), *options])
    assert isinstance(result.exception, ConfigError)
    assert "--cell-line" in str(result.exception)
    assert "U-2 OS" in str(result.exception)


@pytest.mark.parametrize("options", [["--size", "100"], ["--bit-depth", "12"], ["--workers", "0"]])
def test_impossible_options_are_refused(tmp_path, options):
    result = run(app, [str(tmp_path / "sim"), "--fields", "1", "--seed", "3", *options])
    assert isinstance(result.exception, ConfigError)


def test_sixteen_bits_and_a_gallery(tmp_path, monkeypatch):
    asked = []

    def note(path, *, seed, lines, progress):
        asked.append((path, seed, lines))
        progress(1, 1, "Nucleoplasm")

    monkeypatch.setattr("hpacells.cli.simulate.write_gallery", note)
    options = ["--fields", "1", "--seed", "3", "--size", "256", "--bit-depth", "16", "--gallery"]
    for out, lines in (("all", []), ("two", ["HeLa", "A549"])):
        chosen = [part for line in lines for part in ("--cell-line", line)]
        result = run(app, [str(tmp_path / out), *options, *chosen])
        assert result.exit_code == 0, result.output
        assert str(tmp_path / out / "gallery.png") in result.output
    assert asked == [
        (tmp_path / "all" / "gallery.png", 3, GALLERY_LINES),
        (tmp_path / "two" / "gallery.png", 3, ("A549", "HeLa")),
    ]


def test_help_names_every_option():
    text = run(app, ["--help"]).output
    for option in ("--fields", "--seed", "--size", "--pixel-size-um", "--bit-depth", "--gallery",
                   "--class-frequencies", "--workers", "--cell-line", "--variation",
                   "--presence"):  # fmt: skip
        assert option in text
