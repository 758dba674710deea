import pytest

from hpacells.report.config import ReportSettings
from hpacells.report.overview import read_overview


def test_counts_of_a_run(run_folder):
    overview = read_overview(run_folder, ReportSettings())
    assert overview.n_fields == 4
    assert (overview.counts["done"], overview.counts["failed"]) == (3, 1)
    assert [overview.counts[key] for key in ("ok", "border", "rejected")] == [7, 1, 1]
    assert (overview.counts["empty"], overview.counts["few"]) == (1, 1)
    assert [row.fov_id for row in overview.failed] == ["broken"]
    assert [row.row_id for row in overview.group_variation] == ["ACTB"]


def test_cells_are_counted_at_their_top_location_without_the_rejected(run_folder):
    overview = read_overview(run_folder, ReportSettings())
    assert sum(overview.cells_by_location) == 8
    # "plain" has one cell at each of 1 … 5 and a border one at 18; the other field's two cells
    # have 0.2 at 2 but 0.4 at 7.
    assert overview.cells_by_location[1:8] == (1, 1, 1, 1, 1, 0, 2)
    assert overview.cells_by_location[18] == 1


@pytest.fixture
def many(tmp_path, tables):
    fields = [tables.make_field(f"f{i}", n_ok=9 if i != 4 else 1) for i in range(6)]
    scores = {0: 0.1, 1: 0.9, 2: None, 3: 0.5, 4: 1.0}
    variation = [tables.make_variation(f"f{i}", 9 if i != 4 else 1, s) for i, s in scores.items()]
    return tables.write_run(tmp_path, fields, [], variation)


@pytest.mark.parametrize(
    ("limit", "pictured"),
    [
        (2, ["f1", "f3"]),  # f4's score stands on one cell only
        (4, ["f1", "f3", "f0", "f2"]),  # three with scores, then the first of the others
        (6, ["f4", "f1", "f3", "f0", "f2", "f5"]),
    ],
)
def test_the_most_variable_fields_are_pictured(many, limit, pictured):
    for per_page, pages in ((limit, 1), (1, limit)):
        settings = ReportSettings(fields_per_page=per_page, max_pages=pages)
        overview = read_overview(many, settings)
        assert [row.fov_id for row in overview.pictured] == pictured
        listed = [row.fov_id for row in overview.listed]
        assert listed == ["f4", "f1", "f3", "f0", "f2", "f5"]
    assert not overview.has_q


def test_a_small_q_goes_before_a_high_score(tmp_path, tables):
    fields = [tables.make_field(f"f{i}", n_ok=9) for i in range(4)]
    known = {0: (0.9, 0.5), 1: (0.2, 0.01), 2: (0.3, 0.01), 3: (0.95, None)}
    variation = [
        tables.make_variation(f"f{i}", 9, score) | {"spatial_q": q}
        for i, (score, q) in known.items()
    ]
    tables.write_run(tmp_path, fields, [], variation)
    overview = read_overview(tmp_path, ReportSettings())
    assert [row.fov_id for row in overview.pictured] == ["f2", "f1", "f0", "f3"]
    assert overview.has_q


def test_without_variation_the_first_fields_are_pictured(many):
    (many / "variation.parquet").unlink()
    overview = read_overview(many, ReportSettings(fields_per_page=2, max_pages=1))
    assert [row.fov_id for row in overview.pictured] == ["f0", "f1"]


def test_lists_are_bounded_but_counts_are_not(many):
    settings = ReportSettings(fields_per_page=1, max_pages=1, max_listed_fields=2)
    overview = read_overview(many, settings)
    assert [row.fov_id for row in overview.listed] == ["f1", "f0"]
    assert overview.counts["done"] == 6
    assert set(overview.variation) == {"f0", "f1"}
