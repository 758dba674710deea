"""Cells measured on drawn arrays, and the rules of status."""

import numpy as np
import pytest

from hpacells.core.errors import InputError
from hpacells.core.fov import FieldOfView
from hpacells.core.masks import CellMasks
from hpacells.segment.config import MeasureConfig
from hpacells.segment.measure import REASON_OUTSIDE, measure_cells

ANY_SIZE = MeasureConfig(min_cell_um2=0, min_bare_cell_um2=0)


def make_field(height, width, *, pixel_size_um=1.0, dtype=np.uint8, max_value=255):
    pixels = np.zeros((4, height, width), dtype)
    return FieldOfView("a", pixels, pixel_size_um, max_value)


def make_masks(cells, nuclei, pixel_size_um=1.0):
    return CellMasks(
        np.asarray(cells, np.int32), np.asarray(nuclei, np.int32), "drawn", pixel_size_um
    )


def measure(fov, masks, config=ANY_SIZE):
    return measure_cells(fov, masks, config).table.to_pylist()


def disk(shape, row, column, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_drawn_cells_have_drawn_numbers():
    cells = np.zeros((5, 7), np.int32)
    cells[1:4, 1:3] = 2
    cells[1:3, 4:6] = 5
    nuclei = np.zeros_like(cells)
    nuclei[2, 1:3] = 2
    fov = make_field(5, 7, pixel_size_um=0.5)
    fov.pixels[1][cells == 2] = 10
    fov.pixels[1][1, 1] = 16
    fov.pixels[2][2, 1:3] = 200
    two, five = measure(fov, make_masks(cells, nuclei, 0.5))
    assert (two["cell_id"], five["cell_id"]) == (2, 5)
    assert (two["r0"], two["c0"], two["r1"], two["c1"]) == (1, 1, 4, 3)
    assert (five["r0"], five["c0"], five["r1"], five["c1"]) == (1, 4, 3, 6)
    assert two["area_um2"] == 6 * 0.25
    assert two["nucleus_area_um2"] == 2 * 0.25
    assert two["protein_mean"] == pytest.approx(11)
    assert two["protein_total"] == pytest.approx(66 * 0.25)
    assert two["dna_total"] == pytest.approx(400 * 0.25)
    assert five["nucleus_area_um2"] == five["dna_total"] == five["protein_total"] == 0
    assert [two["status"], five["status"]] == ["ok", "ok"]
    assert not two["touches_border"]


def test_sums_equal_a_loop_over_cells():
    rng = np.random.default_rng(3)
    cells = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((20, 15))).astype(np.int32)
    nuclei = np.where(rng.random(cells.shape) < 0.3, cells, 0)
    fov = make_field(*cells.shape, pixel_size_um=0.3)
    fov.pixels[:] = rng.integers(0, 256, fov.pixels.shape)
    for row in measure(fov, make_masks(cells, nuclei, 0.3)):
        mask = cells == row["cell_id"]
        nucleus = nuclei == row["cell_id"]
        assert row["area_um2"] == pytest.approx(mask.sum() * 0.09)
        assert row["protein_mean"] == pytest.approx(fov.pixels[1][mask].mean())
        assert row["dna_total"] == pytest.approx(fov.pixels[2][nucleus].sum() * 0.09)


@pytest.mark.parametrize("max_value", [4095, 65535])
def test_grey_values_are_on_the_8_bit_scale(max_value):
    cells = np.zeros((6, 9), np.int32)
    cells[2:4, 2:5] = 1
    fov = make_field(6, 9, dtype=np.uint16, max_value=max_value)
    fov.pixels[1] = max_value
    (row,) = measure(fov, make_masks(cells, np.zeros_like(cells)))
    assert row["protein_mean"] == 255


def test_a_dim_16_bit_stain_is_not_rounded_away():
    """Pixels were once rounded to 8 bits before they were summed: under half a grey value, 0."""
    cells = np.zeros((6, 9), np.int32)
    cells[2:4, 2:5] = 1
    fov = make_field(6, 9, dtype=np.uint16, max_value=65535)
    fov.pixels[1], fov.pixels[2] = 100, 50
    (row,) = measure(fov, make_masks(cells, cells))
    assert row["protein_mean"] == pytest.approx(100 / 257)
    assert row["protein_total"] == pytest.approx(6 * 100 / 257)
    assert row["dna_total"] == pytest.approx(6 * 50 / 257)


def test_no_cells_give_no_rows():
    nothing = np.zeros((6, 9), np.int32)
    assert measure(make_field(6, 9), make_masks(nothing, nothing)) == []


def test_masks_of_another_size_are_refused():
    nothing = np.zeros((6, 9), np.int32)
    with pytest.raises(InputError, match="expected masks of 9 x 6 pixels, got 6 x 9"):
        measure(make_field(9, 6), make_masks(nothing, nothing))


def test_debris_is_rejected_with_its_reason():
    cells = np.zeros((40, 60), np.int32)
    cells[5:8, 5:8] = 1
    cells[20:30, 20:28] = 2
    cells[5:25, 35:55] = 3
    nuclei = np.zeros_like(cells)
    nuclei[10:15, 40:45] = 3
    rows = measure(make_field(40, 60), make_masks(cells, nuclei), MeasureConfig())
    assert [row["status"] for row in rows] == ["rejected", "rejected", "ok"]
    assert rows[0]["reason"] == "debris: smaller than 40 µm²"
    assert rows[1]["reason"] == "debris: no nucleus and smaller than 120 µm²"
    assert rows[2]["reason"] is None


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("row", "status"), [(6, "border"), (-4, "border"), (-9, "rejected"), (20, "border")]
)
def test_cell_is_rejected_when_its_middle_is_far_outside(turns, row, status):
    shape = (90, 120)
    cells = np.zeros(shape, np.int32)
    nuclei = np.zeros(shape, np.int32)
    for cell_id, (middle, column) in enumerate([(row, 60), (60, 25), (60, 90)], start=1):
        cells[disk(shape, middle, column, 22)] = cell_id
        nuclei[disk(shape, middle, column, 12)] = cell_id
    cells, nuclei = (np.ascontiguousarray(np.rot90(ids, turns)) for ids in (cells, nuclei))
    rows = measure(make_field(*cells.shape), make_masks(cells, nuclei))
    assert [r["status"] for r in rows] == [status, "ok", "ok"]
    assert rows[0]["touches_border"]
    assert rows[0]["reason"] == (REASON_OUTSIDE if status == "rejected" else None)


def test_the_more_of_a_cell_is_inside_the_likelier_it_counts():
    shape, chances = (90, 120), []
    for middle in (-9, -4, 0, 4, 8, 16, 30):
        cells = np.zeros(shape, np.int32)
        nuclei = np.zeros(shape, np.int32)
        for cell_id, (row, column) in enumerate([(middle, 60), (60, 25), (60, 95)], start=1):
            cells[disk(shape, row, column, 22)] = cell_id
            nuclei[disk(shape, row, column, 12)] = cell_id
        rows = measure(make_field(*shape), make_masks(cells, nuclei), MeasureConfig(border="flag"))
        chances.append(rows[0]["chance_inside"])
        assert [row["chance_inside"] for row in rows[1:]] == [1, 1]
    assert chances == sorted(chances)
    assert chances[0] < 0.1
    assert chances[2] < 0.5 < chances[3]
    assert 0.95 < chances[5] < chances[6] == 1


def test_cell_in_a_corner_is_judged_by_both_edges():
    shape = (90, 120)
    cells = np.zeros(shape, np.int32)
    nuclei = np.zeros(shape, np.int32)
    for cell_id, (row, column) in enumerate([(7, -5), (60, 60)], start=1):
        cells[disk(shape, row, column, 22)] = cell_id
        nuclei[disk(shape, row, column, 12)] = cell_id
    rows = measure(make_field(*shape), make_masks(cells, nuclei))
    assert [r["status"] for r in rows] == ["rejected", "ok"]


def test_cell_at_the_frame_without_visible_nucleus_is_rejected():
    cells = np.zeros((60, 80), np.int32)
    cells[0:20, 10:30] = 1
    cells[30:50, 40:60] = 2
    nuclei = np.zeros_like(cells)
    nuclei[35:45, 45:55] = 2
    rows = measure(make_field(60, 80), make_masks(cells, nuclei))
    assert [r["status"] for r in rows] == ["rejected", "ok"]


def test_sliver_of_a_nucleus_means_outside_and_nearly_all_of_one_inside():
    cells = np.zeros((60, 90), np.int32)
    nuclei = np.zeros_like(cells)
    cells[30:55, 30:55], nuclei[35:50, 35:50] = 1, 1
    cells[0:20, 5:25], nuclei[0:2, 9:15] = 2, 2
    nuclei[2:4, 10:14] = 2
    cells[0:20, 60:85], nuclei[0:15, 65:80] = 3, 3
    rows = measure(make_field(60, 90), make_masks(cells, nuclei))
    assert rows[1]["chance_inside"] < 0.5
    assert rows[2]["chance_inside"] > 0.75


def test_without_any_nuclei_the_visible_area_decides():
    cells = np.zeros((60, 80), np.int32)
    cells[20:40, 20:40] = 1
    cells[0:3, 5:20] = 2
    cells[45:60, 50:70] = 3
    rows = measure(make_field(60, 80), make_masks(cells, np.zeros_like(cells)))
    assert [r["status"] for r in rows] == ["ok", "rejected", "border"]


@pytest.mark.parametrize(
    ("border", "statuses"),
    [
        ("reject", ["rejected", "border", "ok"]),
        ("flag", ["border", "border", "ok"]),
        ("keep", ["ok", "ok", "ok"]),
    ],
)
def test_the_border_policy_decides_about_cut_cells(border, statuses):
    shape = (90, 160)
    cells, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for cell_id, (row, column) in enumerate([(-9, 60), (8, 120), (60, 60)], start=1):
        cells[disk(shape, row, column, 22)] = cell_id
        nuclei[disk(shape, row, column, 12)] = cell_id
    config = MeasureConfig(border=border)
    rows = measure(make_field(*shape), make_masks(cells, nuclei), config)
    assert [row["status"] for row in rows] == statuses
    assert [row["touches_border"] for row in rows] == [True, True, False]
    assert [row["qc_cut_by_border"] for row in rows] == [True, True, False]


@pytest.mark.parametrize(
    ("border", "status", "reason"),
    [
        ("reject", "rejected", "cut by the frame: smaller than 40 µm²"),
        ("flag", "border", None),
        ("keep", "ok", None),
    ],
)
def test_what_is_left_of_a_cell_at_the_frame_is_no_debris(border, status, reason):
    cells = np.zeros((40, 60), np.int32)
    cells[0:6, 5:11], cells[20:23, 20:23], cells[20:26, 30:36] = 1, 2, 3
    rows = measure(make_field(40, 60), make_masks(cells, cells), MeasureConfig(border=border))
    assert [row["status"] for row in rows] == [status, "rejected", "rejected"]
    assert rows[0]["reason"] == reason
    assert rows[1]["reason"] == "debris: smaller than 40 µm²"


@pytest.mark.parametrize(("border", "status"), [("flag", "border"), ("keep", "ok")])
def test_a_bare_cell_at_the_frame_stays_unless_it_is_rejected(border, status):
    cells = np.zeros((40, 60), np.int32)
    cells[0:8, 5:15], cells[20:30, 30:50] = 1, 2
    nuclei = np.where(cells == 2, 2, 0)
    rows = measure(make_field(40, 60), make_masks(cells, nuclei), MeasureConfig(border=border))
    assert [row["status"] for row in rows] == [status, "ok"]


def test_ids_can_be_permuted():
    rng = np.random.default_rng(8)
    shape = (120, 160)
    cells = np.zeros(shape, np.int32)
    nuclei = np.zeros(shape, np.int32)
    for cell_id, (row, column) in enumerate([(2, 40), (60, 40), (60, 110), (118, 100)], start=1):
        cells[disk(shape, row, column, 25)] = cell_id
        nuclei[disk(shape, row, column, 10)] = cell_id
    fov = make_field(*shape)
    fov.pixels[:] = rng.integers(0, 256, fov.pixels.shape)
    new = np.array([0, 9, 3, 21, 4], np.int32)
    plain = {new[r.pop("cell_id")]: r for r in measure(fov, make_masks(cells, nuclei))}
    permuted = {r.pop("cell_id"): r for r in measure(fov, make_masks(new[cells], new[nuclei]))}
    assert plain == permuted
