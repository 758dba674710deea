"""Maps drawn from true masks."""

import cv2
import numpy as np
import pytest

from hpacells.train.segmentation.targets import build_targets, pixel_weights

PIXEL_UM = 0.32


def disk(ids, centre, radius, value):
    cv2.circle(ids, centre[::-1], radius, value, cv2.FILLED)


def draw_field():
    """Two touching cells, one with two nuclei, one cut by the frame whose nucleus isn't seen."""
    cells, nuclei = np.zeros((90, 150), np.int32), np.zeros((90, 150), np.int32)
    cells[20:70, 10:60] = 1
    cells[20:70, 60:120] = 2
    cells[0:40, 135:150] = 4
    disk(nuclei, (45, 30), 9, 1)
    disk(nuclei, (35, 80), 8, 2)
    disk(nuclei, (55, 102), 8, 2)
    return cells, nuclei


def count_parts(mask):
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def test_a_drawn_cell_gives_the_drawn_rim():
    cells = np.zeros((7, 9), np.int32)
    cells[1:6, 1:8] = 3
    _, border, _, _ = build_targets(cells, np.zeros_like(cells), 1.0, border_um=1.0)
    expected = cells > 0
    expected[2:5, 2:7] = False
    np.testing.assert_array_equal(border, expected)


def test_the_frame_is_no_border():
    cells = np.zeros((6, 8), np.int32)
    cells[:, :4] = 1
    _, border, _, _ = build_targets(cells, np.zeros_like(cells), 1.0, border_um=1.0)
    assert border[:, 3].all()
    assert not border[:, :3].any()


def test_touching_cells_have_a_ridge_on_both_sides():
    cells, nuclei = draw_field()
    cell, border, _, _ = build_targets(cells, nuclei, PIXEL_UM)
    np.testing.assert_array_equal(cell, cells > 0)
    np.testing.assert_array_equal(border[45, 55:65], [0, 0, 0, 1, 1, 1, 1, 0, 0, 0])


def test_each_cell_has_one_connected_seed_inside_itself():
    cells, nuclei = draw_field()
    *_, nucleus, seed = build_targets(cells, nuclei, PIXEL_UM)
    np.testing.assert_array_equal(nucleus, nuclei > 0)
    for cell_id in (1, 2, 4):
        assert count_parts(seed & (cells == cell_id)) == 1, cell_id
    assert count_parts(seed) == 3
    assert seed[45, 91]  # between the two nuclei of cell 2
    assert seed[0, 142]  # the core of the cell without a nucleus reaches the frame


def test_a_seed_keeps_away_from_the_edge_of_its_nucleus():
    cells, nuclei = draw_field()
    seed = build_targets(cells, nuclei, PIXEL_UM)[3] & (cells == 1)
    shrunk = cv2.erode((nuclei == 1).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2)
    assert seed.any()
    assert (seed <= (shrunk > 0)).all()


def test_an_anaphase_in_a_bent_cell_keeps_one_seed():
    cells, nuclei = np.zeros((60, 60), np.int32), np.zeros((60, 60), np.int32)
    cells[5:55, 5:20] = 1
    cells[40:55, 5:55] = 1  # an L: the hull of the two nuclei leaves the cell
    disk(nuclei, (12, 12), 5, 1)
    disk(nuclei, (47, 47), 5, 1)
    seed = build_targets(cells, nuclei, PIXEL_UM)[3]
    assert count_parts(seed) == 1
    assert (seed <= (cells > 0)).all()


def test_a_tiny_nucleus_still_has_a_seed():
    cells, nuclei = np.zeros((9, 12), np.int32), np.zeros((9, 12), np.int32)
    cells[1:8, 1:11] = 1
    nuclei[4, 5] = 1
    assert build_targets(cells, nuclei, PIXEL_UM)[3].sum() == 1


@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full_fields(value):
    cells = np.full((5, 7), value, np.int32)
    targets = build_targets(cells, cells, PIXEL_UM)
    assert targets.shape == (4, 5, 7)
    assert targets[0].all() == bool(value)
    assert not targets[1].any()
    assert targets[3].any() == bool(value)


def test_turning_the_field_turns_the_maps():
    cells, nuclei = draw_field()
    turned = build_targets(np.rot90(cells).copy(), np.rot90(nuclei).copy(), PIXEL_UM)
    there = np.rot90(build_targets(cells, nuclei, PIXEL_UM), axes=(1, 2))
    assert (turned != there).mean() < 0.002  # a hull's edge is rounded one way


def test_small_cells_and_places_between_cells_weigh_more():
    cells = np.zeros((80, 130), np.int32)
    cells[5:75, 2:62] = 1
    cells[5:75, 62:122] = 2
    cells[40:44, 124:128] = 7
    weights = pixel_weights(cells, PIXEL_UM)
    assert weights[0, 0] == 1.0
    assert weights[42, 126] > weights[30, 20] > 0.9
    assert weights[30, 61] == weights[30, 62] == pytest.approx(weights[30, 20] + 2.0)
    assert weights[30, 50] == weights[30, 20]


def test_weights_of_an_empty_field_are_one():
    np.testing.assert_array_equal(pixel_weights(np.zeros((4, 5), np.int32), 1.0), np.ones((4, 5)))
