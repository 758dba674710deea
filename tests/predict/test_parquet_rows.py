import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.predict import parquet_rows
from hpacells.predict.parquet_rows import ParquetRows

SCHEMA = pa.schema([pa.field("n", pa.int32(), nullable=False)])


def rows(*numbers):
    return pa.table({"n": pa.array(numbers, pa.int64()), "more": [None] * len(numbers)})


def test_rows_are_cast_selected_and_grouped(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_rows, "_ROWS_PER_GROUP", 3)
    with ParquetRows(tmp_path / "t.parquet", SCHEMA) as file:
        for table in (rows(1, 2), rows(), rows(3, 4), rows(5)):
            file.add(table)
    assert pq.read_table(tmp_path / "t.parquet").equals(
        rows(1, 2, 3, 4, 5).select(["n"]).cast(SCHEMA)
    )
    metadata = pq.read_metadata(tmp_path / "t.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 1]


def test_no_row_is_an_empty_table(tmp_path):
    with ParquetRows(tmp_path / "t.parquet", SCHEMA):
        pass
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"earlier")
    with pytest.raises(pa.ArrowInvalid), ParquetRows(path, SCHEMA) as file:
        file.add(pa.table({"n": ["one"]}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == b"earlier"
