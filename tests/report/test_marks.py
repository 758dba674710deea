import pyarrow as pa

from hpacells.core.cell_table import CELL_SCHEMA, CellStatus
from hpacells.core.palette import REJECTED_COLOR, STYLES
from hpacells.report.marks import mark_cells, rank_locations


def test_the_mark_follows_top_location_and_status(tables):
    rows = [
        tables.make_cell("a", 3, top=7),
        tables.make_cell("a", 4, top=7, status="border"),
        tables.make_cell("a", 8, top=7, status="rejected"),
    ]
    marks = mark_cells(pa.Table.from_pylist(rows, CELL_SCHEMA))
    assert (marks[3].color, marks[3].name) == (STYLES[7].color, "Golgi")
    assert marks[4].color == STYLES[7].color
    assert marks[4].width < marks[3].width
    assert (marks[8].color, marks[8].name) == (REJECTED_COLOR, "")
    assert [marks[i].is_dashed for i in (3, 4, 8)] == [False, False, True]
    assert marks[8].status is CellStatus.REJECTED


def test_rank_locations_lists_above_the_threshold_and_at_least_so_many():
    scores = [0.2, 0.9, 0.3, 0.3, 0.0]
    assert rank_locations(scores, 0.3, 1) == [(1, 0.9), (2, 0.3), (3, 0.3)]
    assert rank_locations(scores, 0.95, 1) == [(1, 0.9)]
    assert rank_locations(scores, 0.95, 2) == [(1, 0.9), (2, 0.3)]
    assert rank_locations([], 0.5, 3) == []
