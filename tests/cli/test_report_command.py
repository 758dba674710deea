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


def test_help_has_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "hpacells report" in result.output


def test_what_is_not_a_run_folder_is_an_input_error(tmp_path):
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "Expected a run folder" in str(result.exception)
