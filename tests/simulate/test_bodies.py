"""Single cells cut from the layout."""

import numpy as np
import pytest

from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.filaments import Gait, grow_paths
from hpacells.simulate.layout import draw_layout


@pytest.fixture(scope="module")
def layout():
    rng = np.random.default_rng(2)
    return draw_layout(find_cell_line("HEK 293"), 60.0, mitotic_share=0.2, rng=rng)


@pytest.fixture(scope="module")
def cells(layout):
    return build_anatomies(layout, side_px=375, pixel_um=0.16, seed=(1, 2))


def test_structures_lie_in_their_body(cells):
    assert len(cells) > 5
    for cell in cells:
        assert not (cell.nucleus & ~cell.body).any()
        assert not cell.nucleoli[~cell.nucleus].any()
        row, column = cell.centrosome.round().astype(int)
        assert cell.body[row, column] or cell.mitotic
        assert len(cell.poles) == (2 if cell.mitotic else 0)


def test_bodies_do_not_overlap(cells):
    ground = np.zeros((1200, 1200), int)
    for cell in cells:
        r0, c0, r1, c1 = (v + 400 for v in cell.box)
        ground[r0:r1, c0:c1] += cell.body
    assert ground.max() == 1


def test_areas_do_not_depend_on_the_pixel_size(layout, cells):
    coarse = build_anatomies(layout, side_px=150, pixel_um=0.4, seed=(1, 2))
    areas = {cell.number: cell.body.sum() * 0.4**2 for cell in coarse}
    for cell in cells:
        if cell.number in areas:
            assert cell.body.sum() * 0.16**2 == pytest.approx(areas[cell.number], rel=0.08)


def test_paths_stay_in_the_body_and_keep_their_length(cells):
    cell = max((c for c in cells if not c.mitotic), key=lambda c: c.body.sum())
    rng = np.random.default_rng(0)
    starts = cell.random_places(cell.body.astype(np.float32), 40, rng)
    lengths = np.full(40, 6.0)
    paths = grow_paths(
        cell, starts, rng.uniform(-3, 3, 40), lengths_um=lengths, gait=Gait(step_um=0.5), rng=rng
    )
    assert len(paths) == 40
    for path in paths:
        nearest = path[1:].round().astype(int)
        assert cell.body[nearest[:, 0], nearest[:, 1]].all()
        steps = np.hypot(*np.diff(path, axis=0).T) * cell.pixel_um
        assert steps == pytest.approx(0.5)
        assert steps.sum() <= 6.0 + 1e-6
    assert (
        grow_paths(cell, starts[:0], lengths[:0], lengths_um=lengths[:0], gait=Gait(), rng=rng)
        == []
    )
