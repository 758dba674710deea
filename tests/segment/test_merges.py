"""Which drawn cells look like two."""

import numpy as np
import pytest

from hpacells.core.masks import CellMasks
from hpacells.segment.config import QualityConfig
from hpacells.segment.merges import find_merges

SHAPE_UM = (70, 150)


def disk(row, column, radius, pixel_um):
    rows, columns = (np.arange(round(side / pixel_um)) for side in SHAPE_UM)
    rows, columns = (pixel_um * (axis + 0.5) for axis in (rows, columns))
    return (rows[:, None] - row) ** 2 + (columns - column) ** 2 <= radius**2


def draw(bodies, nuclei, *, pixel_um=0.5, turn=False):
    """One cell (id 3) of disks, and two ordinary ones (7, 8) beside it; all lengths in µm."""
    cells = np.zeros(disk(0, 0, 1, pixel_um).shape, np.int32)
    inside = np.zeros_like(cells)
    for cell_id, row in ((7, 17), (8, 53)):
        cells[disk(row, 130, 14, pixel_um)] = cell_id
        inside[disk(row, 130, 7, pixel_um)] = cell_id
    for row, column, radius in bodies:
        cells[disk(row, column, radius, pixel_um)] = 3
    for row, column, radius in nuclei:
        inside[disk(row, column, radius, pixel_um)] = 3
    if turn:
        cells, inside = (np.ascontiguousarray(ids.T) for ids in (cells, inside))
    return CellMasks(cells, inside, "drawn", pixel_um)


TWO_CELLS = ([(35, 30, 15), (35, 56, 15)], [(35, 30, 7), (35, 56, 7)])
BINUCLEATE = ([(35, 42, 22)], [(35, 34, 6.5), (35, 50, 6.5)])
FAR_APART = ([(35, 40, 32)], [(35, 25, 7), (35, 55, 7)])
MICRONUCLEUS = ([(35, 30, 15), (35, 56, 15)], [(35, 30, 7), (35, 56, 3)])


@pytest.mark.parametrize("pixel_um", [0.16, 0.5, 1.0])
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize(
    ("drawn", "answer"),
    [(TWO_CELLS, True), (BINUCLEATE, False), (FAR_APART, True), (MICRONUCLEUS, False)],
    ids=["a waist", "side by side", "far apart", "a micronucleus"],
)
def test_nuclei_far_apart_or_a_waist_between(drawn, answer, turn, pixel_um):
    found = find_merges(draw(*drawn, pixel_um=pixel_um, turn=turn), QualityConfig())
    assert np.flatnonzero(found).tolist() == ([3] if answer else [])


def test_ids_can_be_permuted():
    masks = draw(*TWO_CELLS)
    new = np.arange(9, dtype=np.int32)[::-1].copy()
    new[0], new[8] = 0, 60
    permuted = CellMasks(new[masks.cells], new[masks.nuclei], "drawn", 0.5)
    found = find_merges(permuted, QualityConfig())
    assert np.flatnonzero(found).tolist() == [new[3]]


def test_without_cells_or_nuclei_nothing_is_suspected():
    nothing = np.zeros((9, 5), np.int32)
    config = QualityConfig()
    assert find_merges(CellMasks(nothing, nothing, "drawn", 0.1), config).tolist() == [False]
    bare = CellMasks(np.ones_like(nothing), nothing, "drawn", 5.0)
    assert find_merges(bare, config).tolist() == [False, False]
