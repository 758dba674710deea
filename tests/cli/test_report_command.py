import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.report import app
from hpacells.core.cell_table import CELL_SCHEMA, FIELD_SCHEMA
from hpacells.core.errors import InputError


@pytest.fixture
def run_folder(tmp_path):
    pq.write_table(FIELD_SCHEMA.empty_table(), tmp_path / "fields.parquet")
    pq.write_table(CELL_SCHEMA.empty_table(), tmp_path / "cells.parquet")
    return tmp_path


def test_report_rewrites_the_page_and_says_where(run_folder):
    (run_folder / "report.html").write_text("old", encoding="utf-8")
    result = CliRunner().invoke(app, [str(run_folder)])
    assert result.exit_code == 0
    assert "report.html" in result.output.replace("\n", "")
    assert "<html" in (run_folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Settings that the report is asked with."""
    asked = []

    def write(run, *, settings):
        asked.append(settings)
        (run / "report-2.html").write_text("x", encoding="utf-8")
        (run / "report.html").write_text("x", encoding="utf-8")
        return run / "report.html"

    monkeypatch.setattr("hpacells.cli.report.write_report", write)
    return asked


def test_pages_and_map_are_asked_for(seen, tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path), "--pages", "3", "--map", "umap"])
    assert (seen[0].max_pages, seen[0].map) == (3, "umap")
    assert "report.html and 1 more" in result.output.replace("\n", " ").replace("  ", " ")
    CliRunner().invoke(app, [str(tmp_path)])
    assert (seen[1].max_pages, seen[1].map) == (10, "pca")


@pytest.mark.parametrize("wrong", [["--pages", "0"], ["--map", "tsne"]])
def test_wrong_options_are_refused(seen, tmp_path, wrong):
    assert CliRunner().invoke(app, [str(tmp_path), *wrong]).exit_code == 2
    assert seen == []


def test_help_has_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "hpacells report" in result.output


def test_what_is_not_a_run_folder_is_an_input_error(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "Expected a run folder" in str(result.exception)
