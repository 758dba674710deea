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
