from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpacells.core.corrections import (
    CORRECTION_SCHEMA,
    CORRECTIONS_FILE,
    Action,
    Correction,
    add_corrections,
    read_corrections,
)
from hpacells.core.errors import TableError

FIRST = Correction(
    "b", 2, Action.CORRECT, "x.csv", datetime(2026, 5, 1, tzinfo=UTC), locations=(2, 7), who="anna"
)


def test_corrections_go_there_and_back_sorted_by_cell_and_person(tmp_path):
    others = [replace(FIRST, who=None), replace(FIRST, fov_id="a", locations=None)]
    assert add_corrections(tmp_path, [FIRST, *others]) == 3
    assert read_corrections(tmp_path) == [others[1], others[0], FIRST]
    table = pq.read_table(tmp_path / CORRECTIONS_FILE)
    assert table.schema.equals(CORRECTION_SCHEMA)
    assert table["locations"].to_pylist() == [None, "2|7", "2|7"]


def test_a_later_word_of_the_same_person_replaces_the_earlier(tmp_path):
    add_corrections(tmp_path, [FIRST])
    later = replace(FIRST, action=Action.REJECT, locations=None)
    assert add_corrections(tmp_path, [later]) == 1
    assert read_corrections(tmp_path) == [later]


def test_the_same_again_leaves_the_file_alone(tmp_path):
    add_corrections(tmp_path, [FIRST])
    before = (tmp_path / CORRECTIONS_FILE).stat().st_mtime_ns
    elsewhere = FIRST.when.astimezone(timezone(timedelta(hours=2)))
    assert add_corrections(tmp_path, [replace(FIRST, when=elsewhere)]) == 0
    assert (tmp_path / CORRECTIONS_FILE).stat().st_mtime_ns == before


def test_a_source_that_says_everything_anew_takes_back_what_it_leaves_out(tmp_path):
    imported = replace(FIRST, fov_id="a", source="y.csv")
    later = replace(FIRST, cell_id=9, source="y.csv", when=FIRST.when + timedelta(days=1))
    add_corrections(tmp_path, [FIRST, imported, later])
    anew = [replace(FIRST, cell_id=3), replace(FIRST, cell_id=9, locations=(1,))]
    assert add_corrections(tmp_path, anew, instead_of="x.csv") == 2  # cell 2 went, cell 3 came
    assert read_corrections(tmp_path) == [imported, anew[0], later]
    assert add_corrections(tmp_path, anew, instead_of="x.csv") == 0
    assert add_corrections(tmp_path, [], instead_of="x.csv") == 1
    assert read_corrections(tmp_path) == [imported, later]


def test_no_corrections_are_an_empty_list(tmp_path):
    assert read_corrections(tmp_path) == []
    assert add_corrections(tmp_path, []) == 0
    assert not (tmp_path / CORRECTIONS_FILE).exists()


def test_damaged_tables_are_named(tmp_path):
    path = tmp_path / CORRECTIONS_FILE
    path.write_bytes(b"no")
    with pytest.raises(TableError, match="damaged"):
        read_corrections(tmp_path)
    pq.write_table(pa.table({"fov_id": ["a"]}), path)
    with pytest.raises(TableError, match="expected the columns fov_id, cell_id, action"):
        read_corrections(tmp_path)
    add = {"when": datetime.now(UTC), "source": "", "locations": None, "comment": None, "who": None}
    rows = [{"fov_id": "a", "cell_id": 1, "action": "praise", **add}]
    pq.write_table(pa.Table.from_pylist(rows, CORRECTION_SCHEMA), path)
    with pytest.raises(TableError, match="expected the action accept, correct, reject, comment"):
        read_corrections(tmp_path)
