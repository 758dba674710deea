import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import CELL_SCHEMA, FIELD_SCHEMA
from hpacells.core.errors import InputError, TableError
from hpacells.core.locations import N_LOCATIONS, NEGATIVE
from hpacells.review.cells import propose_locations, read_cells

HOSTILE = "<img src=x onerror=alert(1)>"


def test_cells_are_those_that_count_in_the_order_of_the_table(run_folder):
    cells = read_cells(run_folder)
    assert list(zip(cells.fov_ids, cells.cell_ids.tolist(), strict=True)) == [
        (fov_id, cell_id) for fov_id in (HOSTILE, "plain") for cell_id in (1, 2, 3)
    ]
    assert cells.row_of["plain", 3] == 5
    assert cells.top.tolist() == [1, 2, 3] * 2
    assert cells.flags(1) == ["saturated"]
    assert cells.flags(0) == []
    assert cells.boxes[0].tolist() == [40, 5, 81, 46]


def test_embeddings_are_not_needed(run_folder):
    assert not (run_folder / "embeddings.parquet").exists()
    assert len(read_cells(run_folder)) == 6


def test_a_half_done_run_is_refused(run_folder):
    (run_folder / "run.json").unlink()
    with pytest.raises(InputError, match=r"not finished \(run.json is missing\)"):
        read_cells(run_folder)


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a run folder"):
        read_cells(tmp_path)


def _rewrite(path, schema, change):
    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def test_a_run_without_a_cell_that_counts_is_refused(run_folder):
    only_rejected = lambda rows: [row for row in rows if row["status"] == "rejected"]  # noqa: E731
    _rewrite(run_folder / "cells.parquet", CELL_SCHEMA, only_rejected)
    with pytest.raises(InputError, match="found none that counts"):
        read_cells(run_folder)


def test_one_cell_is_enough(run_folder):
    _rewrite(run_folder / "cells.parquet", CELL_SCHEMA, lambda rows: rows[:1])
    assert len(read_cells(run_folder)) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a\\b", "a\0b"])
def test_a_table_with_path_tricks_is_refused(run_folder, name):
    rename = lambda rows: [{**row, "fov_id": name} for row in rows]  # noqa: E731
    _rewrite(run_folder / "fields.parquet", FIELD_SCHEMA, rename)
    _rewrite(run_folder / "cells.parquet", CELL_SCHEMA, rename)
    with pytest.raises(InputError, match="field ids without path separators"):
        read_cells(run_folder)


def test_cells_of_an_unknown_field_are_refused(run_folder):
    _rewrite(run_folder / "fields.parquet", FIELD_SCHEMA, lambda rows: rows[:1])
    with pytest.raises(InputError, match=r"field plain is not in fields.parquet"):
        read_cells(run_folder)


def test_a_damaged_table_is_named(run_folder):
    path = run_folder / "cells.parquet"
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"cells\.parquet: .*damaged"):
        read_cells(run_folder)


def test_proposals_follow_the_scores_and_negative_stands_alone():
    scores = np.zeros(N_LOCATIONS)
    scores[[4, 7]] = 0.6, 0.55
    assert propose_locations(scores.tolist(), 0.5) == [4, 7]
    assert propose_locations(scores.tolist(), 0.9) == [4]
    scores[NEGATIVE] = 0.58
    assert propose_locations(scores.tolist(), 0.5) == [4, 7]
    scores[NEGATIVE] = 0.7
    assert propose_locations(scores.tolist(), 0.5) == [NEGATIVE]
    assert propose_locations([0.0] * N_LOCATIONS, 0.5) == [0]
