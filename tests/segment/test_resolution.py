"""Between a field's pixels and the working grid."""

import numpy as np
import pytest

from hpacells.core.masks import CellMasks
from hpacells.segment.resolution import WorkingScale, keep_inside, renumber


@pytest.mark.parametrize(
    ("shape", "pixel_um", "expected"),
    [
        ((2048, 1024), 0.08, (512, 256)),
        ((100, 30), 0.32, (100, 30)),
        ((100, 30), 0.8, (100, 30)),
        ((3, 2), 0.01, (1, 1)),
    ],
)
def test_grid_has_the_working_pixel_or_the_fields_own(shape, pixel_um, expected):
    grid = WorkingScale.of_field(shape, pixel_um, 0.32)
    assert grid.shape == expected
    assert grid.pixel_um == pytest.approx(max(pixel_um, 0.32))


def test_lengths_and_areas_become_pixels():
    grid = WorkingScale((10, 10), 0.5)
    assert grid.px(2.0) == 4
    assert grid.px2(2.0) == 8


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 4095)])
def test_reducing_averages_and_scales(dtype, full):
    stain = np.zeros((8, 12), dtype)
    stain[:4, :4] = full
    stain[0, 4] = full
    reduced = WorkingScale((2, 3), 1.0).reduce(stain, full)
    assert reduced.dtype == np.float32
    np.testing.assert_allclose(reduced, [[1, 1 / 16, 0], [0, 0, 0]], atol=1e-6)


def test_keep_inside_takes_the_largest_part_and_fills_holes():
    cells = np.zeros((12, 20), np.int32)
    cells[1:8, 1:8] = 3
    cells[4, 4] = 0
    cells[10:12, 10:12] = 3
    cells[2:5, 12:15] = 1
    cells[3, 13] = 2
    nuclei = np.zeros_like(cells)
    nuclei[2:4, 6:10] = 3
    whole, inside = keep_inside(cells, nuclei)
    expected = np.zeros_like(cells)
    expected[1:8, 1:8] = 3
    expected[2:5, 12:15] = 1
    expected[3, 13] = 2
    np.testing.assert_array_equal(whole, expected)
    assert (inside > 0).sum() == 4
    assert set(inside[2:4, 6:8].ravel()) == {3}


def test_a_cell_inside_another_keeps_its_own_holes_and_islands_go():
    """The outer cell once took the inner one's hole, and had two parts: the field failed."""
    ring = np.zeros((40, 50), np.int32)
    ring[2:38, 2:48], ring[10:30, 10:40], ring[15:20, 18:25] = 2, 1, 0
    island = ring.copy()
    island[15:20, 18:25] = 2  # of the outer cell, cut off by the inner one
    expected = ring.copy()
    expected[15:20, 18:25] = 1
    for cells in (ring, island):
        for turned in (cells, np.where(cells > 0, 3 - cells, 0).astype(np.int32)):
            whole, _ = keep_inside(turned, np.zeros_like(turned))
            CellMasks(whole, np.zeros_like(whole), "drawn", 0.1)
            np.testing.assert_array_equal(whole == turned[12, 12], expected == 1)
            np.testing.assert_array_equal(whole == turned[3, 3], expected == 2)


def test_ids_are_renumbered_in_reading_order():
    cells = np.zeros((6, 9), np.int32)
    cells[0:2, 6:8], cells[1:4, 0:3], cells[4:6, 4:6] = 7, 2, 4
    nuclei = np.where(cells == 2, cells, 0)
    new_cells, new_nuclei = renumber(cells, nuclei)
    assert (new_cells[0, 6], new_cells[1, 0], new_cells[4, 4]) == (1, 2, 3)
    assert set(np.unique(new_nuclei)) == {0, 2}


def test_first_pixel_decides_between_cells_of_one_row():
    cells = np.zeros((4, 9), np.int32)
    cells[1, 5], cells[2, 0:6], cells[1, 3] = 1, 1, 2
    assert renumber(cells, cells)[0][1, 3] == 1


def test_nothing_stays_nothing():
    nothing = np.zeros((5, 8), np.int32)
    for ids in keep_inside(nothing, nothing):
        assert not ids.any()
    assert not renumber(nothing, nothing)[0].any()
