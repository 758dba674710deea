import time

import numpy as np
import pytest
from skimage.measure import label

from hpacells.core.errors import InputError
from hpacells.core.masks import MAX_CELL_ID, CellMasks, largest_part


def masks(cells, nuclei=None):
    cells = np.array(cells, np.int32)
    nuclei = np.zeros_like(cells) if nuclei is None else np.array(nuclei, np.int32)
    return CellMasks(cells, nuclei, "drawn", 0.1)


def test_cells_that_touch_and_hold_several_nuclei():
    made = masks(
        [[7, 7, 7, 7, 0], [7, 7, 7, 2, 2], [0, 2, 2, 2, 2]],
        [[7, 0, 0, 7, 0], [7, 0, 0, 0, 2], [0, 0, 0, 0, 2]],
    )
    assert made.cell_ids.tolist() == [2, 7]
    assert made.cell_ids.dtype == np.int32


def test_corners_connect():
    assert masks([[1, 0, 0, 2], [0, 1, 2, 0]]).cell_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("cells", "broken"),
    [
        ([[1, 0, 1], [1, 0, 1]], 1),
        ([[1, 2, 1], [2, 1, 2]], None),  # by their corners
        ([[1, 2, 2, 1], [2, 2, 2, 1]], 1),
        ([[5, 5, 0, 0, 3], [0, 0, 0, 0, 0], [5, 0, 3, 3, 3]], 3),
    ],
)
def test_a_cell_is_one_connected_part(cells, broken):
    if broken is None:
        masks(cells)
        return
    with pytest.raises(InputError, match=f"cell {broken} has more than one connected part"):
        masks(cells)


def test_agreement_with_an_independent_labelling():
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(200):
        cells = rng.integers(0, 4, (5, 8)).astype(np.int32) * rng.integers(0, 2, (5, 8))
        cells[:, rng.integers(2, 8) :] = 0
        cells[rng.integers(1, 5) :] = 0
        parts = label(cells, background=0, connectivity=2)
        whole = parts.max() == len(np.unique(cells[cells > 0]))
        if whole:
            masks(cells)
        else:
            refused += 1
            with pytest.raises(InputError, match="connected"):
                masks(cells)
    assert 20 < refused < 180


def test_a_nucleus_lies_in_its_own_cell():
    with pytest.raises(InputError, match="nucleus 1 has pixels outside"):
        masks([[1, 1, 2]], [[0, 0, 1]])
    with pytest.raises(InputError, match="nucleus 4 has pixels outside"):
        masks([[1, 1, 2]], [[4, 0, 0]])


def test_shapes_types_and_ids():
    plane = np.zeros((2, 3), np.int32)
    with pytest.raises(InputError, match="one \\(H, W\\) shape"):
        CellMasks(plane, plane.T, "drawn", 0.1)
    with pytest.raises(InputError, match="one \\(H, W\\) shape"):
        CellMasks(plane[None], plane[None], "drawn", 0.1)
    with pytest.raises(InputError, match="int32 ids, got int64"):
        CellMasks(plane.astype(np.int64), plane, "drawn", 0.1)
    for wrong in (-1, MAX_CELL_ID + 1):
        with pytest.raises(InputError, match="expected cell ids"):
            masks([[wrong, 0, 0]])
    assert masks([[MAX_CELL_ID, 0, 0]]).cell_ids.tolist() == [MAX_CELL_ID]


def test_a_field_without_cells():
    assert masks(np.zeros((4, 6))).cell_ids.tolist() == []
    assert masks(np.zeros((0, 6))).cell_ids.tolist() == []


def test_checking_a_full_field_is_fast():
    cells = np.zeros((2048, 1728), np.int32)
    for number in range(49):
        row, column = divmod(number, 7)
        cells[row * 290 : row * 290 + 280, column * 245 : column * 245 + 235] = number + 1
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        CellMasks(cells, cells, "drawn", 0.08)
        best = min(best, time.perf_counter() - started)
    assert best < 0.3  # about 0.03 on an idle core


def test_the_largest_part_is_kept():
    mask = np.zeros((20, 30), bool)
    mask[2:10, 2:12] = True
    mask[15:18, 20:25] = True
    kept = largest_part(mask)
    assert kept.sum() == 80
    assert not largest_part(np.zeros((4, 6), bool)).any()
