import numpy as np
import pyarrow as pa
import pytest

from hpacells.core.cell_table import (
    CELL_MEASURE_SCHEMA,
    CELL_SCHEMA,
    FIELD_SCHEMA,
    IMAGE_COLUMNS,
    PROBABILITY_COLUMNS,
    VARIATION_SCHEMA,
    CellStatus,
    CellTable,
)
from hpacells.core.errors import InputError
from hpacells.core.locations import LOCATION_KEYS


def table(schema=CELL_MEASURE_SCHEMA, n=3, **changed):
    columns = {}
    for field in schema:
        if pa.types.is_string(field.type):
            values = ["x"] * n
        elif pa.types.is_boolean(field.type):
            values = [False] * n
        else:
            values = np.arange(1, n + 1)
        columns[field.name] = values
    columns["status"] = ["ok", "border", "rejected"][:n]
    columns["reason"] = [None, None, "debris"][:n]
    columns.update(changed)
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.table(arrays, schema=schema)


@pytest.mark.parametrize("schema", [CELL_MEASURE_SCHEMA, CELL_SCHEMA])
def test_statuses_add_up(schema):
    cells = CellTable(table(schema))
    counts = {status: cells.count(status) for status in CellStatus}
    assert counts == {"ok": 1, "border": 1, "rejected": 1}
    assert sum(counts.values()) == len(cells) == 3


def test_no_cells():
    cells = CellTable(CELL_SCHEMA.empty_table())
    assert len(cells) == 0
    assert cells.count(CellStatus.OK) == 0


def test_columns_must_be_there_in_order():
    with pytest.raises(InputError, match="expected columns"):
        CellTable(table().drop_columns(["r0"]))
    with pytest.raises(InputError, match="expected columns"):
        CellTable(table().select(CELL_MEASURE_SCHEMA.names[::-1]))
    with pytest.raises(InputError, match="expected columns"):
        CellTable(table(CELL_SCHEMA).drop_columns(["p_negative"]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_are_finite(value):
    with pytest.raises(InputError, match="column protein_mean holds NaN or infinity"):
        CellTable(table(protein_mean=[1.0, value, 2.0]))
    with pytest.raises(InputError, match="column p_vesicles"):
        CellTable(table(CELL_SCHEMA, p_vesicles=[1.0, value, 2.0]))


@pytest.mark.parametrize("ids", [[1, 1, 2], [2, 1, 3]])
def test_ids_ascend_and_stand_once(ids):
    with pytest.raises(InputError, match="must ascend and stand once"):
        CellTable(table(cell_id=ids))


def test_a_rejected_cell_has_a_reason():
    with pytest.raises(InputError, match="has no reason"):
        CellTable(table(reason=[None, None, None]))


def test_the_columns_of_the_run_folder():
    assert tuple(f"p_{key}" for key in LOCATION_KEYS) == PROBABILITY_COLUMNS
    in_cells = [name for name in CELL_SCHEMA.names if name.startswith("p_")]
    assert tuple(in_cells) == PROBABILITY_COLUMNS
    assert all(CELL_SCHEMA.field(name).type == pa.float32() for name in in_cells)
    in_fields = [name for name in FIELD_SCHEMA.names if name.startswith("image_")]
    assert tuple(in_fields) == (*IMAGE_COLUMNS, "image_labels")
    kinds = ("spatial", "intensity")
    numbers = ("score", "effect", "low", "high", "p", "q")
    assert VARIATION_SCHEMA.names == [
        "level",
        "id",
        "n_cells",
        *[f"{kind}_{number}" for kind in kinds for number in numbers],
    ]
