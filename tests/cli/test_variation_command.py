import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hpacells.cli.app import main
from hpacells.cli.variation import app
from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, CELL_SCHEMA, FIELD_SCHEMA


@pytest.fixture
def run_folder(tmp_path):
    rng = np.random.default_rng(0)
    cells, fields = [], []
    for fov_id, spread in (("calm", 0.01), ("wild", 0.9)):
        for cell_id in range(1, 9):
            row = dict.fromkeys(CELL_SCHEMA.names, 0)
            row |= {"fov_id": fov_id, "cell_id": cell_id, "status": "ok", "reason": None}
            row |= {"touches_border": False, "p_cytosol": 0.5}
            row |= dict.fromkeys(CELL_QUALITY_COLUMNS, False)
            row |= {"p_vesicles": spread * rng.random(), "protein_mean": 9 + 9 * spread * cell_id}
            cells.append(row)
        row = dict.fromkeys(FIELD_SCHEMA.names) | {"fov_id": fov_id, "status": "done"}
        fields.append(row | dict.fromkeys(("width", "height", "n_ok", "n_border", "n_rejected"), 8))
    pq.write_table(pa.Table.from_pylist(cells, CELL_SCHEMA), tmp_path / "cells.parquet")
    pq.write_table(pa.Table.from_pylist(fields, FIELD_SCHEMA), tmp_path / "fields.parquet")
    return tmp_path


def test_the_most_variable_field_is_printed_first_and_the_table_written(run_folder):
    result = CliRunner().invoke(app, [str(run_folder), "--top", "1"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines() if " to 0." in line] == [
        "wild"
    ] * 2
    assert "calm" not in result.stdout
    assert "2 fields, 2 of them with fewer than 10 cells" in result.output
    assert "no p and q yet" in result.output
    assert pq.read_table(run_folder / "variation.parquet")["id"].to_pylist() == ["calm", "wild"]


def test_asked_again_it_writes_the_same(run_folder):
    written = []
    for _ in range(2):
        assert CliRunner().invoke(app, [str(run_folder)]).exit_code == 0
        written.append((run_folder / "variation.parquet").read_bytes())
    assert written[0] == written[1]


def test_help_ends_with_an_example():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "hpacells variation RUN --top 10" in result.output


def test_what_is_no_run_folder_exits_2(tmp_path, capsys):
    for folder, message in ((tmp_path / "none", "found none"), (tmp_path, "cells.parquet")):
        with pytest.raises(SystemExit) as stopped:
            main(["variation", str(folder)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
