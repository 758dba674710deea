import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import VARIATION_SCHEMA
from hpacells.core.errors import InputError
from hpacells.variation.atlas_flags import ATLAS_FILE, compare_with_atlas, read_flags

HEADER = "Gene\tGene name\tSingle-cell variation intensity\tSingle-cell variation spatial\n"
TABLE = HEADER + (
    "ENSG1\tAAA\tNucleoplasm\t\nENSG2\tBBB\t\tCytosol\nENSG3\tCCC\t\t\nENSG4\tDDD\tVesicles\t\n"
)


def gene(name, effect, q=0.5, level="gene"):
    row = dict.fromkeys(VARIATION_SCHEMA.names) | {"level": level, "id": name, "n_cells": 9}
    row |= {"intensity_score": 0.3, "intensity_effect": effect, "intensity_p": q}
    return row | {"intensity_q": q, "spatial_score": 0.1 + 0.01 * len(name)}


def variation(*rows):
    return pa.Table.from_pylist(list(rows), VARIATION_SCHEMA)


@pytest.fixture
def atlas(tmp_path):
    path = tmp_path / "subcellular_location.tsv"
    path.write_text(TABLE)
    return path


def test_flags_by_id_and_by_name_plain_and_gzipped(atlas, tmp_path):
    flags = read_flags(atlas)
    assert flags["ENSG1"] == flags["AAA"] == {"spatial": "", "intensity": "Nucleoplasm"}
    packed = tmp_path / "table.tsv.gz"
    packed.write_bytes(gzip.compress(TABLE.encode()))
    assert read_flags(packed) == flags


def test_a_run_beside_the_atlas(atlas, tmp_path):
    table = variation(
        gene("ENSG1", 2.0, q=0.01), gene("ENSG4", 0.5), gene("BBB", 1.0, q=0.04),
        gene("CCC", 0.1), gene("unheard of", 9.0), gene("ENSG3", 9.0, level="field"),
    )  # fmt: skip
    spatial, intensity = compare_with_atlas(tmp_path, table, atlas)
    assert (intensity.n, intensity.n_flagged) == (4, 2)
    assert intensity.auc == pytest.approx(3 / 4)
    assert (intensity.n_found, intensity.n_found_flagged) == (2, 1)
    assert (spatial.n, spatial.n_flagged, spatial.n_found) == (4, 1, 0)
    assert spatial.auc == pytest.approx(1 / 6)  # by score: no effects; one tie
    rows = pq.read_table(tmp_path / ATLAS_FILE).to_pylist()
    assert len(rows) == 8
    assert rows[1]["flag"] == "Nucleoplasm"


def test_without_contrast_there_is_no_area(atlas, tmp_path):
    spatial, intensity = compare_with_atlas(tmp_path, variation(gene("CCC", 0.1)), atlas)
    assert (spatial.auc, intensity.auc) == (None, None)


def test_what_is_no_atlas_table_is_said(atlas, tmp_path):
    with pytest.raises(InputError, match="found none"):
        read_flags(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="which has no gene names"):
        compare_with_atlas(tmp_path, variation(), atlas)
    with pytest.raises(InputError, match="which has 1 genes, none of them"):
        compare_with_atlas(tmp_path, variation(gene("unheard of", 1.0)), atlas)
    atlas.write_text("Gene\tGene name\n")
    with pytest.raises(InputError, match="variation spatial"):
        read_flags(atlas)
    damaged = tmp_path / "damaged.tsv.gz"
    damaged.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read"):
        read_flags(damaged)
