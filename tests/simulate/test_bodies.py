"""Single cells cut from the layout."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from hpacells.core.masks import largest_part
from hpacells.simulate.bodies import build_anatomies
from hpacells.simulate.cell_lines import find_cell_line
from hpacells.simulate.filaments import Gait, grow_paths
from hpacells.simulate.layout import draw_layout


@pytest.fixture(scope="module")
def layout():
    rng = np.random.default_rng(6)
    return draw_layout(find_cell_line("HEK 293"), 96.0, mitotic_share=0.35, rng=rng)


@pytest.fixture(scope="module")
def cells(layout):
    return build_anatomies(layout, side_px=600, pixel_um=0.16, seed=(1, 2))


def test_structures_lie_in_their_body(cells):
    assert len(cells) > 5
    for cell in cells:
        assert not (cell.nucleus & ~cell.body).any()
        assert not cell.nucleoli[~cell.nucleus].any()
        row, column = cell.centrosome.round().astype(int)
        assert cell.body[row, column] or cell.mitotic
        assert len(cell.poles) == (2 if cell.mitotic else 0)


def test_phase_and_dna_content_come_from_the_plan(layout, cells):
    for cell in cells:
        plan = layout.plans[cell.number - 1]
        assert cell.phase == plan.phase
        assert cell.mitotic == (plan.stage != "interphase")
        assert cell.dna_content == plan.dna_content
        assert 1.0 <= cell.dna_content <= 8.0


def test_poles_stand_on_both_sides_of_the_chromatin(cells):
    dividing = [cell for cell in cells if cell.mitotic and cell.nucleus.any()]
    assert dividing
    for cell in dividing:
        first, second = cell.poles
        assert (0.5 * (first + second)) == pytest.approx(cell.centre, abs=2.0)
        along = np.array([np.sin(cell.direction), np.cos(cell.direction)])
        reach = np.hypot(*(second - first)) / 2
        assert np.abs((second - first) / (2 * reach)) == pytest.approx(np.abs(along), abs=1e-6)
        places = np.argwhere(cell.nucleus) - cell.centre
        assert np.percentile(np.abs(places @ along), 90) < reach


def test_contact_is_high_beside_another_cell_only(cells):
    ground = np.zeros((1200, 1200), int)
    for cell in cells:
        r0, c0, r1, c1 = (v + 400 for v in cell.box)
        ground[r0:r1, c0:c1][cell.body] = cell.number
    touching = 0
    for cell in cells:
        r0, c0, r1, c1 = (v + 400 for v in cell.box)
        others = ~np.isin(ground[r0:r1, c0:c1], (0, cell.number))
        if not others.any():
            assert not cell.contact.any()
            continue
        gap = distance_transform_edt(~others) * cell.pixel_um
        touching += 1
        assert (cell.contact[cell.body & (gap < 0.25)] > 0.8).all()
        assert (cell.contact[cell.body & (gap > 1.3)] == 0.0).all()
    assert touching > 3


def test_bodies_do_not_overlap(cells):
    ground = np.zeros((1200, 1200), int)
    for cell in cells:
        r0, c0, r1, c1 = (v + 400 for v in cell.box)
        ground[r0:r1, c0:c1] += cell.body
    assert ground.max() == 1


def test_areas_do_not_depend_on_the_pixel_size(layout, cells):
    coarse = build_anatomies(layout, side_px=240, pixel_um=0.4, seed=(1, 2))
    areas = {cell.number: cell.body.sum() * 0.4**2 for cell in coarse}
    for cell in cells:
        if cell.number in areas:
            assert cell.body.sum() * 0.16**2 == pytest.approx(areas[cell.number], rel=0.08)


def test_a_cell_of_several_nuclei_stays_one_cell():
    rng = np.random.default_rng(3)
    layout = draw_layout(find_cell_line("A-431"), 160.0, mitotic_share=0.0, rng=rng)
    anatomies = build_anatomies(layout, side_px=400, pixel_um=0.4, seed=(3,))
    several = [
        c for c in anatomies if c.dna_content > 2.0 or len(layout.plans[c.number - 1].nuclei) > 1
    ]
    assert several
    for cell in several:
        assert largest_part(cell.body).sum() == cell.body.sum()
        assert cell.nucleus.any()


def test_structures_are_the_same_at_another_pixel_size(layout):
    fine, coarse = (
        {
            cell.number: cell
            for cell in build_anatomies(layout, side_px=side, pixel_um=um, seed=(4,))
        }
        for side, um in ((1200, 0.08), (480, 0.2))
    )
    inner = [number for number in fine if number in coarse]
    assert len(inner) > 4
    shares = [
        [cells[n].nucleoli.sum() / max(1, cells[n].nucleus.sum()) for n in inner]
        for cells in (fine, coarse)
    ]
    assert np.mean(shares[0]) == pytest.approx(np.mean(shares[1]), abs=0.025)


def lumps_of(cell, *, places_um):
    """Log of the height against that of the same cell with other lumps, where neither is cut."""
    other = replace(cell, seed=(99, 99))
    rows, columns = (places_um / cell.pixel_um - np.array(cell.box[:2])).astype(int).T
    first, second = cell.height[rows, columns], other.height[rows, columns]
    return np.where(np.maximum(first, second) < 1.15, np.log(first / second), 0.0)


def test_lumps_of_the_height_are_the_same_at_another_pixel_size_and_of_the_seed(layout):
    fine, coarse, elsewhere = (
        {c.number: c for c in build_anatomies(layout, side_px=side, pixel_um=um, seed=(seed,))}
        for side, um, seed in ((1200, 0.08, 4), (480, 0.2, 4), (480, 0.2, 5))
    )
    found = {"fine": [], "coarse": [], "elsewhere": []}
    for number, cell in coarse.items():
        if number not in fine or cell.mitotic:
            continue
        places = (np.argwhere(cell.free_edge_um > 1.0) + 0.5 + cell.box[:2]) * 0.2
        found["fine"].append(lumps_of(fine[number], places_um=places))
        found["coarse"].append(lumps_of(cell, places_um=places))
        found["elsewhere"].append(lumps_of(elsewhere[number], places_um=places))
        assert (elsewhere[number].body == cell.body).all()
    fine_lumps, coarse_lumps, other_lumps = (np.concatenate(one) for one in found.values())
    used = (fine_lumps != 0) & (coarse_lumps != 0) & (other_lumps != 0)
    assert used.sum() > 5000
    assert fine_lumps[used] == pytest.approx(coarse_lumps[used], abs=0.08)
    assert coarse_lumps[used].std() > 0.2
    # the reference is common to both: unrelated lumps have half of their variance in common
    assert np.corrcoef(coarse_lumps[used], other_lumps[used])[0, 1] < 0.7


def test_cells_of_equal_form_have_lumps_of_their_own(cells):
    cell = max(cells, key=lambda one: one.body.sum())
    twin = replace(cell, seed=(*cell.seed[:-1], cell.number + 1))
    assert (replace(cell).height == cell.height).all()
    inside = cell.free_edge_um > 1.0
    assert np.abs(np.log(twin.height[inside] / cell.height[inside])).std() > 0.05
    assert cell.seed == (1, 2, cell.number)


def test_paths_stay_in_the_body_and_keep_their_length(cells):
    inner = [c for c in cells if min(c.box) > 0 and max(c.box) < 600 and not c.mitotic]
    cell = max(inner, key=lambda c: c.body.sum())
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
