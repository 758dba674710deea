"""Working ids redrawn at the field's resolution."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from hpacells.core.masks import CellMasks
from hpacells.segment.redraw import redraw
from hpacells.segment.resolution import keep_inside


def draw_cells():
    """Three cells that touch, one in another's bay, one cut by the corner of the frame."""
    cells, nuclei = np.zeros((60, 90), np.int32), np.zeros((60, 90), np.int32)
    cells[10:50, 10:40] = 1
    cells[10:30, 40:75] = 2
    cells[30:50, 40:75] = 3
    cells[20:30, 60:70] = 4  # enclosed by cell 2 but for its lower edge
    cells[50:60, 80:90] = 5
    cv2.circle(nuclei, (25, 30), 7, 1, cv2.FILLED)
    cv2.circle(nuclei, (50, 20), 5, 2, cv2.FILLED)
    cv2.circle(nuclei, (50, 40), 4, 3, cv2.FILLED)
    cv2.circle(nuclei, (64, 40), 4, 3, cv2.FILLED)
    nuclei[56:60, 86:90] = 5
    return cells, nuclei


@pytest.mark.parametrize("shape", [(240, 360), (119, 183), (60, 90), (61, 90)])
def test_cells_keep_their_places_and_are_whole(shape):
    cells, nuclei = draw_cells()
    found, inside = redraw(cells, nuclei, shape)
    CellMasks(found, inside, "drawn", 0.1)  # checks parts and nuclei
    factor = shape[0] * shape[1] / cells.size
    for cell_id in range(1, 6):
        area = (cells == cell_id).sum() * factor
        assert (found == cell_id).sum() == pytest.approx(area, rel=0.08), cell_id
    for cell_id in (1, 2, 3, 5):
        area = (nuclei == cell_id).sum() * factor
        assert (inside == cell_id).sum() == pytest.approx(area, rel=0.2), cell_id


def test_it_agrees_with_repeating_pixels_but_for_the_outlines():
    cells, nuclei = draw_cells()
    found, _ = redraw(cells, nuclei, (240, 360))
    repeated = cells.repeat(4, axis=0).repeat(4, axis=1)
    far = np.ones(repeated.shape, np.uint8)
    far[1:] &= repeated[1:] == repeated[:-1]
    far[:, 1:] &= repeated[:, 1:] == repeated[:, :-1]
    far = cv2.erode(far, np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(found[far], repeated[far])


def enlarge(ids, shape):
    return redraw(ids, np.zeros_like(ids), shape)[0]


def test_the_same_size_changes_nothing():
    ids = np.zeros((6, 9), np.int32)
    ids[1:4, 1:4], ids[1:4, 4:8] = 1, 2
    np.testing.assert_array_equal(enlarge(ids, (6, 9)), ids)


def test_a_drawn_outline_is_smooth_and_keeps_its_area():
    rows, columns = np.ogrid[:50, :70]
    ids = ((rows - 25) ** 2 + (columns - 30) ** 2 <= 18**2).astype(np.int32)
    big = enlarge(ids, (200, 280)) > 0
    big_rows, big_columns = np.ogrid[:200, :280]
    middle = (25.5 * 4 - 0.5, 30.5 * 4 - 0.5)
    distance = np.hypot(big_rows - middle[0], big_columns - middle[1])
    edge = distance[big & ~ndimage.binary_erosion(big)]
    assert big.sum() == pytest.approx(ids.sum() * 16, rel=0.02)
    assert edge.max() - edge.min() < 4


def test_touching_cells_share_their_border_without_a_gap():
    ids = np.zeros((20, 30), np.int32)
    ids[4:16, 4:15], ids[4:16, 15:26] = 1, 2
    big = enlarge(ids, (80, 120))
    assert set(np.unique(big[20:60, 20:100])) == {1, 2}
    np.testing.assert_allclose(np.bincount(big.ravel())[1:], 11 * 12 * 16, rtol=0.03)


def test_cells_of_one_corner_reach_both_edges():
    ids = np.zeros((20, 30), np.int32)
    ids[:8, :9] = 1
    big = enlarge(ids, (60, 90))
    assert (big[:20, 0] == 1).all()
    assert (big[0, :20] == 1).all()


def test_no_gap_is_left_where_three_cells_meet():
    cells, nuclei = draw_cells()
    found, _ = redraw(cells, nuclei, (480, 720))
    assert (found[200:280, 280:360] > 0).all()


def test_cells_at_the_frame_reach_it():
    cells = np.ones((7, 9), np.int32)
    found, inside = redraw(cells, cells, (28, 36))
    assert (found == 1).all()
    assert (inside == 1).all()


def test_a_coarser_image_keeps_what_it_can_show():
    cells, nuclei = draw_cells()
    found, inside = redraw(cells, nuclei, (30, 45))
    CellMasks(found, inside, "drawn", 0.64)
    np.testing.assert_array_equal(np.unique(found), np.arange(6))


def test_holes_that_hold_no_cell_do_not_appear():
    cells, nuclei = draw_cells()
    found, _ = redraw(cells, nuclei, (240, 360))
    background = (found == 0).astype(np.uint8)
    assert cv2.connectedComponents(background)[0] == 2


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 3)])
def test_next_to_nothing(shape):
    empty = np.zeros((1, 1), np.int32)
    for ids in redraw(empty, empty, shape):
        np.testing.assert_array_equal(ids, np.zeros(shape))


@pytest.mark.parametrize("neck", [1, 2, 3])
def test_what_hangs_on_a_neck_too_thin_to_draw_is_no_part_of_its_own(neck):
    cells = np.zeros((30, 64), np.int32)
    cells[5:20, 2:42] = 1
    cells[5:20, 25:32] = 2
    cells[19 - neck : 20, 25:32] = 1
    cells[19 - neck : 19 - neck + 1, 25:32] = 2
    found, _ = redraw(cells, np.zeros_like(cells), (120, 256))
    CellMasks(found, np.zeros_like(found), "drawn", 0.1)
    assert (found == 1).sum() > 0.5 * 16 * (cells == 1).sum()


@pytest.mark.parametrize("seed", [1, 2, 30])  # of 60 seeds, 30 cuts a crumb off a cell
def test_ragged_cells_stay_whole(seed):
    rng = np.random.default_rng(seed)
    seeds = np.zeros((60, 80), np.int32)
    for k in range(1, 12):
        seeds[rng.integers(60), rng.integers(80)] = k
    ragged = watershed(rng.random((60, 80)).astype(np.float32), seeds).astype(np.int32)
    cells, _ = keep_inside(ragged, ragged)
    found, _ = redraw(cells, np.zeros_like(cells), (240, 320))
    CellMasks(found, np.zeros_like(found), "drawn", 0.1)
    nearest = cells.repeat(4, axis=0).repeat(4, axis=1)
    assert (found == nearest).mean() > 0.85
