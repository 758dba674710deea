"""Cells on the ground: shapes and densities of the cell lines, nuclei apart."""

import numpy as np
import pytest
from skimage.measure import regionprops

from hpacells.simulate.cell_lines import CELL_LINES, draw_body_area, draw_excess, find_cell_line
from hpacells.simulate.layout import GRID_UM, MARGIN_UM, draw_layout
from hpacells.simulate.outline import draw_body_outline, draw_nucleus_outline, outline_points

SIDE_UM = 120.0


def layouts_of(name, count=2, mitotic_share=0.0):
    line = find_cell_line(name)
    return [
        draw_layout(line, SIDE_UM, mitotic_share=mitotic_share, rng=np.random.default_rng([7, k]))
        for k in range(count)
    ]


def shapes_of(name):
    found = []
    count = int(np.ceil(20 / find_cell_line(name).density_per_1e4um2))
    for layout in layouts_of(name, count):
        found += [
            (region.area * GRID_UM**2, region.solidity)
            for region in regionprops(layout.cells)
            if min(region.bbox[:2]) > 0 and max(region.bbox[2:]) < layout.cells.shape[0]
        ]
    return np.array(found)


@pytest.mark.parametrize("name", ["U-2 OS", "A-431", "HEK 293", "SH-SY5Y", "HAP1"])
def test_cells_have_the_size_and_solidity_of_their_line(name):
    line = find_cell_line(name)
    areas, solidity = shapes_of(name).T
    assert np.median(areas) == pytest.approx(line.area_um2[1], rel=0.3)
    assert np.percentile(areas, 10) > 0.6 * line.area_um2[0]
    assert np.percentile(areas, 90) < 1.5 * line.area_um2[2]
    assert np.median(solidity) == pytest.approx(line.solidity[0], abs=0.08)


def test_dense_lines_stand_denser():
    counts = {
        name: len(layouts_of(name, 1)[0].plans) for name in ("HAP1", "HEK 293", "U-2 OS", "hTCEpi")
    }
    assert sorted(counts, key=counts.get, reverse=True) == ["HAP1", "HEK 293", "U-2 OS", "hTCEpi"]


def test_nuclei_lie_in_their_own_cells_and_never_overlap():
    for layout in layouts_of("HAP1", 1) + layouts_of("A-431", 1, mitotic_share=0.4):
        inside = layout.nuclei > 0
        assert (layout.cells[inside] == layout.nuclei[inside]).mean() > 0.995
        drawn = sum(
            np.ptp(outline_points(outline, (0, 0)), axis=0).prod() * 0.7
            for plan in layout.plans
            for _, outline in plan.nuclei
        )
        assert inside.sum() * GRID_UM**2 > 0.7 * drawn


def test_the_ground_is_wider_than_the_frame_and_cells_stand_beyond_it():
    layout = layouts_of("U-251 MG", 1)[0]
    assert layout.cells.shape == (round((SIDE_UM + 2 * MARGIN_UM) / GRID_UM),) * 2
    places = np.array([plan.nucleus_um for plan in layout.plans])
    outside = (places < MARGIN_UM).any(axis=1) | (places > MARGIN_UM + SIDE_UM).any(axis=1)
    assert outside.any()
    assert not outside.all()


def test_mitotic_cells_are_round_with_little_chromatin():
    layout = layouts_of("U-2 OS", 1, mitotic_share=1.0)[0]
    assert {plan.phase for plan in layout.plans} == {"M"}
    for plan in layout.plans:
        assert plan.body.radius_um.max() / plan.body.radius_um.min() < 1.8


def test_the_same_generator_gives_the_same_layout():
    first, second = (layouts_of("PC-3", 1)[0] for _ in range(2))
    assert (first.cells == second.cells).all()
    assert (first.nuclei == second.nuclei).all()


@pytest.mark.parametrize("ragged", [0.0, 0.15, 0.3])
def test_an_outline_encloses_its_area(ragged):
    outline = draw_body_outline(700.0, 1.8, ragged, direction=0.4, rng=np.random.default_rng(3))
    rows, columns = outline_points(outline, (5.0, -3.0)).T
    shoelace = 0.5 * abs(rows @ np.roll(columns, 1) - columns @ np.roll(rows, 1))
    assert shoelace == pytest.approx(700.0, rel=0.02)
    assert outline.reach_um == outline.radius_um.max()


def test_an_outline_is_read_at_any_angle():
    outline = draw_nucleus_outline(200.0, 1.4, direction=0.0, rng=np.random.default_rng(1))
    angles = np.array([-np.pi, 0.0, np.pi - 1e-4], np.float32)
    left, right, wrapped = outline.at(angles)
    assert left == pytest.approx(outline.radius_um[0], rel=1e-3)
    assert wrapped == pytest.approx(left, rel=1e-2)
    assert right == pytest.approx(outline.radius_um[90], rel=1e-3)


def test_areas_follow_the_percentiles_of_the_line():
    line = find_cell_line("A-431")
    rng = np.random.default_rng(0)
    drawn = np.percentile([draw_body_area(line, rng) for _ in range(4000)], [10, 50, 90])
    assert drawn == pytest.approx(line.area_um2, rel=0.08)
    excess = [draw_excess(0.5, 1.1, rng) for _ in range(4000)]
    assert np.percentile(excess, [50, 90]) == pytest.approx([0.5, 1.1], rel=0.08)


def test_cell_lines_have_names_of_their_own():
    assert len({line.name for line in CELL_LINES}) == len(CELL_LINES) >= 5
    with pytest.raises(KeyError):
        find_cell_line("no such line")
