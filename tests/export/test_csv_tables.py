import duckdb
import pyarrow.parquet as pq
from pyarrow import csv

from hpacells.core.cell_table import CELL_SCHEMA, FIELD_SCHEMA
from hpacells.export.config import ExportSettings
from hpacells.export.write import export_run


def test_the_tables_come_back_exactly(run_folder):
    out = export_run(run_folder, ExportSettings(to="csv")).out
    for name, schema in (("cells", CELL_SCHEMA), ("fields", FIELD_SCHEMA)):
        options = csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        back = csv.read_csv(out / f"{name}.csv", convert_options=options)
        assert back.cast(schema).equals(pq.read_table(run_folder / f"{name}.parquet"))


def test_duckdb_reads_it(run_folder):
    out = export_run(run_folder, ExportSettings(to="csv")).out
    query = f"select fov_id, count(*) from '{out}/cells.csv' group by 1 order by 1"
    assert duckdb.sql(query).fetchall() == [('a,b "c" <d>', 5), ("plain", 5)]
