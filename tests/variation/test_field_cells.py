import numpy as np
import pyarrow as pa
import pytest

from hpacells.core.cell_table import CELL_QUALITY_COLUMNS, CELL_SCHEMA
from hpacells.core.errors import TableError
from hpacells.variation.field_cells import EXCLUDING_FLAGS, fields_of, select_cells


def row(cell_id, fov_id="f", status="ok", **flags):
    values = dict.fromkeys(CELL_SCHEMA.names, 0)
    values |= {"fov_id": fov_id, "cell_id": cell_id, "status": status, "p_cytosol": 0.5}
    values |= {"reason": None, "touches_border": False, "protein_mean": float(cell_id)}
    return values | dict.fromkeys(CELL_QUALITY_COLUMNS, False) | flags


def test_border_rejected_and_flagged_cells_stay_out_but_saturated_ones():
    rows = [row(1), row(2, status="border"), row(3, status="rejected", reason="debris")]
    rows += [row(4 + i, **{name: True}) for i, name in enumerate(EXCLUDING_FLAGS)]
    rows += [row(20, qc_saturated=True), row(21, p_negative=0.9)]
    cells = select_cells(pa.Table.from_pylist(rows, CELL_SCHEMA))
    assert cells.cell_ids.tolist() == [1, 20, 21]
    assert cells.protein.tolist() == [1.0, 20.0, 21.0]
    assert cells.has_place.tolist() == [True, True, False]
    assert cells.take(np.array([2])).cell_ids.tolist() == [21]


def test_tables_of_versions_without_flags_are_read():
    table = pa.Table.from_pylist([row(1, qc_no_nucleus=True)], CELL_SCHEMA)
    assert len(select_cells(table)) == 0
    assert len(select_cells(table.drop_columns(list(CELL_QUALITY_COLUMNS)))) == 1


def test_a_field_may_run_over_batches_and_must_be_sorted():
    table = pa.Table.from_pylist([row(i, fov_id=f) for f in "ab" for i in (1, 2, 3)], CELL_SCHEMA)
    found = {fov_id: cells.cell_ids.tolist() for fov_id, cells in fields_of(table.to_batches(2))}
    assert found == {"a": [1, 2, 3], "b": [1, 2, 3]}
    assert list(fields_of([])) == []
    with pytest.raises(TableError, match="sorted by fov_id"):
        list(fields_of(table.sort_by([("fov_id", "descending")]).to_batches()))
