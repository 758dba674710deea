import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.cell_table import (
    CELL_QUALITY_COLUMNS,
    CELL_SCHEMA,
    FIELD_QUALITY_COLUMNS,
    FIELD_SCHEMA,
    FieldStatus,
)
from hpacells.core.errors import InputError
from hpacells.report.run_tables import (
    count_fields,
    iterate_associations,
    iterate_cells,
    iterate_fields,
    iterate_variation,
    read_outliers,
)


def test_fields_come_with_names_instead_of_ids(run_folder, tables):
    rows = {row.fov_id: row for row in iterate_fields(run_folder)}
    assert count_fields(run_folder) == len(rows) == 4
    assert rows["plain"].own_label == "Nucleoli, Golgi apparatus"
    assert rows["plain"].known == (("gene", "ACTB"),)
    assert rows["plain"].n_cells == 6
    assert rows[tables.HOSTILE].known == (("cell line", "<i>U-2 OS</i>"),)
    assert rows["broken"].status is FieldStatus.FAILED
    assert rows["broken"].image_scores is None
    assert rows["empty"].own_label is None


@pytest.mark.parametrize(
    ("text", "shown"), [("", "no class"), ("Golgi?", "Golgi?"), ("18", "Negative")]
)
def test_own_label(tmp_path, tables, text, shown):
    tables.write_run(tmp_path, [tables.make_field("a", image_labels=text)], [])
    assert next(iterate_fields(tmp_path)).own_label == shown


@pytest.mark.parametrize("row_group_size", [1, 3, 1000])
def test_cells_are_grouped_whatever_the_row_groups(tmp_path, tables, row_group_size, monkeypatch):
    monkeypatch.setattr("hpacells.core.run_tables.BATCH_ROWS", 4)
    counts = {"a": 5, "b": 1, "c": 9}
    rows = [tables.make_cell(f, i + 1) for f, n in counts.items() for i in range(n)]
    table = pa.Table.from_pylist(rows, CELL_SCHEMA)
    pq.write_table(table, tmp_path / "cells.parquet", row_group_size=row_group_size)
    groups = list(iterate_cells(tmp_path))
    assert {fov_id: len(cells) for fov_id, cells in groups} == counts
    assert groups[2][1]["cell_id"].to_pylist() == list(range(1, 10))


def test_no_cells_at_all(tmp_path, tables):
    tables.write_run(tmp_path, [tables.make_field("a")], [])
    assert list(iterate_cells(tmp_path)) == []


def test_unsorted_cells_are_refused(tmp_path, tables):
    rows = [tables.make_cell("b", 1), tables.make_cell("a", 1)]
    pq.write_table(pa.Table.from_pylist(rows, CELL_SCHEMA), tmp_path / "cells.parquet")
    with pytest.raises(InputError, match="sorted by fov_id"):
        list(iterate_cells(tmp_path))


def test_what_is_not_a_run_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="Expected a run folder"):
        count_fields(tmp_path)
    (tmp_path / "fields.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        count_fields(tmp_path)
    pq.write_table(FIELD_SCHEMA.empty_table().drop_columns(["n_ok"]), tmp_path / "fields.parquet")
    with pytest.raises(InputError, match="missing: n_ok"):
        count_fields(tmp_path)


def test_tables_without_quality_flags_are_read(tmp_path, tables):
    tables.write_run(tmp_path, [tables.make_field("a", n_ok=1)], [tables.make_cell("a", 1)])
    for name, flags in (("fields", FIELD_QUALITY_COLUMNS), ("cells", CELL_QUALITY_COLUMNS)):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(list(flags)), path)
    assert [row.flags for row in iterate_fields(tmp_path)] == [()]
    assert [len(cells) for _, cells in iterate_cells(tmp_path)] == [1]


def test_variation_is_optional_and_unknown_stays_none(run_folder, tables):
    rows = {row.row_id: row for row in iterate_variation(run_folder)}
    assert rows["plain"].spatial["score"] == pytest.approx(0.41)
    assert rows["plain"].intensity["score"] is None
    assert rows["ACTB"].level == "gene"
    (run_folder / "variation.parquet").unlink()
    assert list(iterate_variation(run_folder)) == []


def test_outliers_and_associations_are_optional(run_folder, tables):
    assert read_outliers(run_folder, {"plain"}) == {}
    assert list(iterate_associations(run_folder)) == []
    tables.write_extra_variation(run_folder)
    assert read_outliers(run_folder, {"plain"}) == {
        ("plain", 3): "intensity (z -4.0), spatial (z 4.2)"
    }
    assert read_outliers(run_folder, {"empty"}) == {}
    assert [row["q"] for row in iterate_associations(run_folder)] == [0.031, 0.6]
