import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    CELL_SCHEMA,
    FIELD_SCHEMA,
    PROBABILITY_COLUMNS,
    VARIATION_SCHEMA,
)
from hpacells.core.errors import InputError, TableError
from hpacells.core.locations import LOCATION_KEYS
from hpacells.core.storage import write_json
from hpacells.runtime.model_folder import NULL_FILE
from hpacells.variation import run_cells
from hpacells.variation.config import VariationConfig
from hpacells.variation.scores import NOTES_KEY, score_variation, write_variation


def cell(fov_id, cell_id, location, protein=10.0, status="ok"):
    row = dict.fromkeys(CELL_SCHEMA.names, 0) | {f"p_{location}": 0.9, "touches_border": False}
    row |= dict.fromkeys(CELL_QUALITY_COLUMNS, False)
    reason = "debris" if status == "rejected" else None
    return row | {
        "fov_id": fov_id,
        "cell_id": cell_id,
        "status": status,
        "reason": reason,
        "protein_mean": protein,
    }


def field(fov_id, status="done", **known):
    row = dict.fromkeys(FIELD_SCHEMA.names) | {"fov_id": fov_id, "status": status}
    return row | dict.fromkeys(("width", "height", "n_ok", "n_border", "n_rejected"), 0) | known


def tables():
    """alike: 8 cells of one place; mixed: 4 + 4; few: 4 cells; failed: none."""
    cells = [cell("alike", i, "cytosol") for i in range(1, 9)]
    cells += [cell("few", i, "cytosol") for i in range(1, 5)]
    cells += [cell("mixed", i, "cytosol", protein=0.0) for i in range(1, 5)]
    cells += [cell("mixed", i, "nucleoli", protein=30.0) for i in range(5, 9)]
    cells += [cell("mixed", 9, "negative", protein=0.0)]
    cells += [cell("mixed", 10, "vesicles", 900.0, "rejected")]
    cells += [cell("mixed", 11, "vesicles", 900.0, "border")]
    fields = [
        field("mixed", gene="G1", cell_line="U-2 OS"),
        field("alike", gene="G1"),
        field("few", gene="G2"),
        field("failed", "failed", gene="G3"),
    ]
    return pa.Table.from_pylist(cells, CELL_SCHEMA), pa.Table.from_pylist(fields, FIELD_SCHEMA)


def by_id(table):
    return {(row["level"], row["id"]): row for row in table.to_pylist()}


def test_a_drawn_run():
    table = score_variation(*tables())
    assert table.schema.equals(VARIATION_SCHEMA, check_metadata=False)
    rows = by_id(table)
    assert list(rows) == [
        ("field", "alike"),
        ("field", "few"),
        ("field", "mixed"),
        ("gene", "G1"),
        ("gene", "G2"),
        ("cell_line", "U-2 OS"),
    ]
    half = np.log(2) / np.log(18)
    mixed, alike = rows["field", "mixed"], rows["field", "alike"]
    assert (mixed["n_cells"], alike["n_cells"]) == (9, 8)
    assert mixed["spatial_score"] == pytest.approx(half)
    assert mixed["intensity_score"] == pytest.approx(5 / 9)
    assert alike["spatial_score"] == pytest.approx(0)
    assert alike["intensity_score"] == pytest.approx(0)
    assert mixed["spatial_effect"] is None
    assert mixed["spatial_low"] <= mixed["spatial_score"] <= mixed["spatial_high"]
    assert (mixed["spatial_p"], mixed["intensity_q"]) == (None, None)
    assert json.loads(table.schema.metadata[NOTES_KEY])["negative_only_cells"] == 1


def test_few_cells_have_a_count_and_no_score():
    rows = by_id(score_variation(*tables()))
    for key in (("field", "few"), ("gene", "G2")):
        assert rows[key]["n_cells"] == 4
        assert {v for k, v in rows[key].items() if k.startswith(("spatial", "inten"))} == {None}
    cells, fields = tables()
    rows = by_id(score_variation(cells, fields, VariationConfig(min_cells=4)))
    assert rows["field", "few"]["spatial_score"] == pytest.approx(0)


def test_a_gene_is_the_mean_of_its_fields_by_cells_not_their_cells_pooled():
    rows = by_id(score_variation(*tables()))
    gene = rows["gene", "G1"]
    assert gene["n_cells"] == 17
    assert gene["spatial_score"] == pytest.approx(rows["field", "mixed"]["spatial_score"] / 2)
    assert gene["intensity_score"] == pytest.approx(5 / 9 * 9 / 17)
    line = rows["cell_line", "U-2 OS"]
    for name in ("spatial_score", "spatial_low", "intensity_high"):
        assert line[name] == pytest.approx(rows["field", "mixed"][name])


def test_a_black_field_has_no_intensity_score():
    cells = pa.Table.from_pylist([cell("a", i, "cytosol", 0.0) for i in range(1, 8)], CELL_SCHEMA)
    row = score_variation(cells, pa.Table.from_pylist([field("a")], FIELD_SCHEMA)).to_pylist()[0]
    assert (row["intensity_score"], row["intensity_low"], row["intensity_effect"]) == (None,) * 3
    assert row["spatial_score"] == pytest.approx(0)


def test_a_run_without_cells_has_rows_without_scores():
    cells, fields = tables()
    table = score_variation(cells.slice(0, 0), fields)
    assert set(table["n_cells"].to_pylist()) == {0}
    assert table["spatial_score"].null_count == table.num_rows


def random_run(seed=0, n_fields=12):
    rng = np.random.default_rng(seed)
    cells = []
    for f in range(n_fields):
        for i in range(1, int(rng.integers(6, 14))):
            row = cell(f"f{f:02d}", i, LOCATION_KEYS[0], protein=float(rng.gamma(2, 9)))
            row |= {f"p_{key}": float(rng.random()) for key in LOCATION_KEYS[:-1]}
            cells.append(row)
    fields = [field(f"f{f:02d}", gene=f"G{f % 3}") for f in range(n_fields)]
    return pa.Table.from_pylist(cells, CELL_SCHEMA), pa.Table.from_pylist(fields, FIELD_SCHEMA)


def test_a_field_scores_the_same_alone_and_whatever_its_batches(monkeypatch, tmp_path):
    cells, fields = random_run()
    whole = score_variation(cells, fields)
    monkeypatch.setattr(run_cells, "_BATCH_ROWS", 7)
    assert score_variation(cells, fields).equals(whole)
    pq.write_table(cells, tmp_path / "cells.parquet", row_group_size=5)
    pq.write_table(fields, tmp_path / "fields.parquet")
    assert write_variation(tmp_path).equals(whole)
    assert pq.read_table(tmp_path / "variation.parquet").equals(whole)
    alone = cells.filter(pa.compute.equal(cells["fov_id"], "f03"))
    row = by_id(score_variation(alone, fields.slice(3, 1)))["field", "f03"]
    expected = by_id(whole)["field", "f03"]
    assert {k: v for k, v in row.items() if "effect" not in k} == {
        k: v for k, v in expected.items() if "effect" not in k
    }


def test_replicates_centre_on_the_score_and_depend_on_the_seed():
    cells, fields = random_run(4)
    first, second = (
        by_id(score_variation(cells, fields, VariationConfig(seed=s, n_replicates=400)))
        for s in (0, 1)
    )
    for key, row in first.items():
        for kind in ("spatial", "intensity"):
            assert row[f"{kind}_low"] < row[f"{kind}_score"] < row[f"{kind}_high"]
            assert row[f"{kind}_score"] == second[key][f"{kind}_score"]
            assert row[f"{kind}_low"] != second[key][f"{kind}_low"]


def test_tables_that_do_not_fit_are_refused(tmp_path):
    cells, fields = tables()
    with pytest.raises(TableError, match="protein_mean missing"):
        score_variation(cells.drop_columns("protein_mean"), fields)
    with pytest.raises(TableError, match=r"fields table.*gene missing"):
        score_variation(cells, fields.drop_columns("gene"))
    with pytest.raises(TableError, match="field alike is not in the fields table"):
        score_variation(cells, fields.slice(0, 1))
    with pytest.raises(TableError, match="sorted by fov_id"):
        score_variation(cells.sort_by([("fov_id", "descending")]), fields)
    with pytest.raises(InputError, match=r"cells\.parquet: expected a run folder's table"):
        write_variation(tmp_path)
    with pytest.raises(ValidationError):
        VariationConfig(min_cells=1)


def run_of(drawn):
    """Tables of drawn fields: (fov_id, gene, cells)."""
    rows = []
    for fov_id, _, cells in drawn:
        for i in range(len(cells)):
            row = cell(fov_id, int(cells.cell_ids[i]), "cytosol", float(cells.protein[i]))
            row |= dict(zip(PROBABILITY_COLUMNS, map(float, cells.probabilities[i]), strict=True))
            names = ("area_um2", "nucleus_area_um2", "dna_total", "doubt")
            rows.append(row | {name: float(getattr(cells, name)[i]) for name in names})
    fields = [field(fov_id, gene=gene) for fov_id, gene, _ in drawn]
    return pa.Table.from_pylist(rows, CELL_SCHEMA), pa.Table.from_pylist(fields, FIELD_SCHEMA)


def test_with_a_null_there_are_effects_p_and_q_of_each_level(drawn_null, draw_cells):
    rng = np.random.default_rng(0)
    drawn = [("a0", "A", draw_cells(rng, 20, switched=0.4))]
    drawn += [("a1", "A", draw_cells(rng, 20, switched=0.4))]
    drawn += [(f"b{i}", "B" if i else "C", draw_cells(rng, 20)) for i in range(6)]
    table = score_variation(*run_of(drawn), null=drawn_null)
    rows = by_id(table)
    for level in ("field", "gene"):
        for kind in ("spatial", "intensity"):
            of_level = [row for key, row in rows.items() if key[0] == level]
            p = [row[f"{kind}_p"] for row in of_level]
            q = [row[f"{kind}_q"] for row in of_level]
            assert q == pytest.approx(benjamini_hochberg(p))
    assert rows["field", "a0"]["spatial_q"] < 0.05 < rows["field", "b3"]["spatial_q"]
    assert rows["gene", "A"]["spatial_q"] < 0.05 < rows["gene", "B"]["spatial_q"]
    assert rows["gene", "A"]["spatial_effect"] == pytest.approx(
        np.mean([rows["field", name]["spatial_effect"] for name in ("a0", "a1")])
    )
    assert rows["gene", "C"]["spatial_p"] == rows["field", "b0"]["spatial_p"]
    assert json.loads(table.schema.metadata[NOTES_KEY])["no_p"] == ""


def benjamini_hochberg(p):
    order = np.argsort(p)[::-1]
    q, least = np.empty(len(p)), 1.0
    for rank, place in zip(range(len(p), 0, -1), order, strict=True):
        least = min(least, p[place] * len(p) / rank)
        q[place] = least
    return q


def test_one_cell_and_no_cell_have_no_p(drawn_null, draw_cells):
    cells, fields = run_of([("one", "A", draw_cells(np.random.default_rng(1), 1))])
    for table in (cells, cells.slice(0, 0)):
        row = score_variation(table, fields, null=drawn_null).to_pylist()[0]
        assert row["spatial_p"] is row["intensity_q"] is row["spatial_score"] is None


def test_without_a_null_the_table_says_why_and_a_run_folder_takes_its_copy(
    tmp_path, drawn_null, draw_cells
):
    cells, fields = run_of([("f", None, draw_cells(np.random.default_rng(2), 20))])
    pq.write_table(cells, tmp_path / "cells.parquet")
    pq.write_table(fields, tmp_path / "fields.parquet")
    why = json.loads(write_variation(tmp_path).schema.metadata[NOTES_KEY])["no_p"]
    assert "no measurement-error null" in why
    write_json(tmp_path / NULL_FILE, drawn_null.model_dump(mode="json"))
    assert write_variation(tmp_path).equals(score_variation(cells, fields, null=drawn_null))


def embedded_run(folder, drawn_null, draw_cells):
    """A run folder with embeddings, read 7 rows at a time, and a null that asks for them."""
    rng = np.random.default_rng(8)
    cells, fields = run_of([(f"f{i}", None, draw_cells(rng, 11)) for i in range(4)])
    numbers = pa.array(rng.normal(size=(len(cells), 2)).tolist(), pa.list_(pa.float32()))
    weights = (1.0, *[0.0] * 22, 0.3, -0.2)
    null = drawn_null.model_copy(update={"amount_weights": weights})
    embeddings = cells.select(["fov_id", "cell_id"]).append_column("embedding", numbers)
    embeddings = embeddings.append_column("term_x", pa.array([0.5] * len(cells)))
    pq.write_table(cells, folder / "cells.parquet", row_group_size=9)
    pq.write_table(fields, folder / "fields.parquet")
    pq.write_table(embeddings, folder / "embeddings.parquet", row_group_size=5)
    write_json(folder / NULL_FILE, null.model_dump(mode="json"))
    return cells.append_column("embedding", numbers), fields, null


def test_embeddings_are_read_beside_their_cells(tmp_path, monkeypatch, drawn_null, draw_cells):
    cells, fields, null = embedded_run(tmp_path, drawn_null, draw_cells)
    expected = score_variation(cells, fields, null=null)
    assert expected["intensity_p"].null_count == 0
    assert not expected.equals(score_variation(cells, fields, null=drawn_null))
    monkeypatch.setattr(run_cells, "_BATCH_ROWS", 7)
    assert write_variation(tmp_path).equals(expected)


def test_without_embeddings_intensity_has_no_p_and_the_table_says_why(
    tmp_path, drawn_null, draw_cells
):
    embedded_run(tmp_path, drawn_null, draw_cells)
    (tmp_path / "embeddings.parquet").unlink()
    table = write_variation(tmp_path)
    assert "embeddings.parquet is missing" in json.loads(table.schema.metadata[NOTES_KEY])["no_p"]
    assert table["intensity_p"].null_count == table["intensity_q"].null_count == 4
    assert table["intensity_score"].null_count == table["spatial_p"].null_count == 0


def test_embeddings_of_other_cells_are_refused(tmp_path, drawn_null, draw_cells):
    embedded_run(tmp_path, drawn_null, draw_cells)
    embeddings = pq.read_table(tmp_path / "embeddings.parquet")
    for wrong in (embeddings.slice(1), embeddings.slice(0, 20)):
        pq.write_table(wrong, tmp_path / "embeddings.parquet")
        with pytest.raises(TableError, match="row by row, got others"):
            write_variation(tmp_path)
    pq.write_table(embeddings.drop_columns("cell_id"), tmp_path / "embeddings.parquet")
    with pytest.raises(TableError, match="cell_id missing"):
        write_variation(tmp_path)


def test_a_half_done_run_is_told_to_go_on(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(InputError, match="not finished: the same 'hpacells run' continues it"):
        write_variation(tmp_path)
