import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.errors import TableError
from hpacells.core.parquet import naming_damage


def test_a_damaged_table_is_named_with_what_to_do(tmp_path):
    # four commands ended with Arrow's traceback on a damaged table
    path = tmp_path / "cells.parquet"
    path.write_bytes(b"junk")
    damaged = r"cells\.parquet: .* damaged .* Copy it anew\."
    with pytest.raises(TableError, match=damaged), naming_damage(path, "Copy it anew."):
        pq.read_table(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with naming_damage(path, "Copy it anew."):
        assert pq.read_table(path).num_rows == 1


def test_a_damaged_page_is_the_tables_fault_and_a_missing_file_is_not(tmp_path):
    path = tmp_path / "cells.parquet"
    pq.write_table(pa.table({"a": list(range(5000))}), path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(TableError, match="damaged"), naming_damage(path, "Copy it anew."):
        pq.read_table(path)
    with pytest.raises(FileNotFoundError), naming_damage(path, "Copy it anew."):
        pq.read_table(tmp_path / "none.parquet")
