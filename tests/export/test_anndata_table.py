import sys

import anndata
import numpy as np
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import CELL_SCHEMA, PROBABILITY_COLUMNS
from hpacells.core.errors import MissingExtraError
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.palette import STYLES
from hpacells.export.config import ExportSettings
from hpacells.export.write import export_run

ANNDATA = ExportSettings(to="anndata")


def test_anndata_reads_the_numbers_of_the_run(run_folder):
    made = anndata.read_h5ad(export_run(run_folder, ANNDATA).out / "cells.h5ad")
    cells = pq.read_table(run_folder / "cells.parquet")
    for k, name in enumerate(PROBABILITY_COLUMNS):
        assert np.array_equal(made.X[:, k], cells[name].to_numpy())
    embeddings = pq.read_table(run_folder / "embeddings.parquet")["embedding"].to_pylist()
    assert np.array_equal(made.obsm["embedding"], np.array(embeddings, np.float32))
    for name in CELL_SCHEMA.names:
        if name not in PROBABILITY_COLUMNS:
            found = made.obs[name].astype(object).where(made.obs[name].notna(), None).tolist()
            assert found == cells[name].to_pylist(), name
    assert made.obs_names[0] == 'a,b "c" <d>/2'
    assert made.obs["gene"].tolist() == ["ACTB"] * 10
    middle = np.array([(5 + 30) / 2, (5 + 20) / 2]) * 0.32
    assert made.obsm["spatial"][0] == pytest.approx(middle)


def test_the_vocabulary_and_its_colours_come_along(run_folder):
    made = anndata.read_h5ad(export_run(run_folder, ANNDATA).out / "cells.h5ad")
    assert made.var_names.tolist() == list(LOCATION_KEYS) == made.uns["locations"].tolist()
    assert made.uns["top_location_colors"].tolist() == [style.color for style in STYLES]
    top = made.obs["top_location"]
    assert top.cat.categories.tolist() == list(LOCATION_KEYS)
    rejected = (made.obs["status"] == "rejected").to_numpy()
    assert top.isna().tolist() == rejected.tolist()
    expected = np.array(LOCATION_KEYS)[made.X.argmax(axis=1)]
    assert top[~rejected].tolist() == expected[~rejected].tolist()
    assert made.uns["hpacells"]["model_id"] == "tiny-1@0"


def test_a_run_without_cells_gives_an_empty_table(run_folder):
    for name in ("cells", "embeddings"):
        table = pq.read_table(run_folder / f"{name}.parquet")
        pq.write_table(table.slice(0, 0), run_folder / f"{name}.parquet")
    made = anndata.read_h5ad(export_run(run_folder, ANNDATA).out / "cells.h5ad")
    assert made.shape == (0, len(LOCATION_KEYS))
    assert "protein_mean" in made.obs


def test_without_anndata_it_says_what_to_install(run_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hpacells\[export\]'"):
        export_run(run_folder, ANNDATA)
    assert not (run_folder / "exports" / "anndata" / "cells.h5ad").exists()
