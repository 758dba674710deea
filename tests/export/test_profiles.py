import duckdb
import numpy as np
import pyarrow.parquet as pq

from hpacells.export.config import ExportSettings
from hpacells.export.profiles import FEATURES
from hpacells.export.write import export_run


def test_every_number_of_the_run_is_a_metadata_or_feature_column(run_folder):
    path = export_run(run_folder, ExportSettings(to="profiles")).out / "profiles.parquet"
    made = pq.read_table(path)
    cells = pq.read_table(run_folder / "cells.parquet")
    for name in cells.column_names:
        column = made[FEATURES.get(name, f"Metadata_{name}")]
        assert column.to_pylist() == cells[name].to_pylist(), name
    embeddings = pq.read_table(run_folder / "embeddings.parquet")["embedding"].to_pylist()
    found = [made[f"Cells_Embedding_{i}"].to_numpy() for i in range(5)]
    assert np.array_equal(np.stack(found, axis=1), np.array(embeddings, np.float32))
    assert made["Metadata_Well"].to_pylist() == ["B2"] * 10
    prefixes = [name.split("_")[0] for name in made.column_names]
    assert sorted(set(prefixes)) == ["Cells", "Metadata", "Nuclei"]
    assert prefixes == sorted(prefixes, key=lambda name: name != "Metadata")


def test_duckdb_reads_it(run_folder):
    path = export_run(run_folder, ExportSettings(to="profiles")).out / "profiles.parquet"
    query = f"select count(*), min(Cells_AreaShape_Area_um2) > 0 from '{path}'"
    assert duckdb.sql(query).fetchall() == [(10, True)]
