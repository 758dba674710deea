"""Cells on the ground: shapes and densities of the cell lines, nuclei apart, neighbours."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.measure import regionprops

from hpacells.core.errors import ConfigError
from hpacells.simulate.cell_lines import CELL_LINES, find_cell_line
from hpacells.simulate.ground import Ground
from hpacells.simulate.layout import GRID_UM, MARGIN_UM, crowd_at, draw_layout
from hpacells.simulate.mitosis import STAGES, draw_mitotic_plan
from hpacells.simulate.outline import N_ANGLES, Outline
from hpacells.simulate.plans import CellPlan, draw_interphase_plan, draw_sister_plans, moved

SIDE_UM = 100.0
FRAME = slice(round(MARGIN_UM / GRID_UM), -round(MARGIN_UM / GRID_UM))


def layouts_of(name, count=2, mitotic_share=0.0):
    line = find_cell_line(name)
    return [
        draw_layout(line, SIDE_UM, mitotic_share=mitotic_share, rng=np.random.default_rng([7, k]))
        for k in range(count)
    ]


def shapes_of(name):
    found = []
    count = int(np.ceil(14 / find_cell_line(name).density_per_1e4um2))
    for layout in layouts_of(name, count):
        found += [
            (region.area * GRID_UM**2, region.solidity)
            for region in regionprops(layout.cells)
            if min(region.bbox[:2]) > 0 and max(region.bbox[2:]) < layout.cells.shape[0]
        ]
    return np.array(found)


def border_shared(cells):
    """Share of the outlines within 1 µm of another cell, on the grid."""
    reach = int(1.0 / GRID_UM)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    edges = shared = 0
    for number in np.unique(cells)[1:]:
        own = (cells == number).astype(np.uint8)
        edge = own & ~cv2.erode(own, np.ones((3, 3), np.uint8))
        others = ((cells > 0) & (own == 0)).astype(np.uint8)
        edges += edge.sum()
        shared += (edge & cv2.dilate(others, disc)).sum()
    return shared / edges


@pytest.mark.parametrize("name", ["U-2 OS", "A-431", "HEK 293", "SH-SY5Y", "HAP1", "EFO-21"])
def test_cells_have_the_size_and_solidity_of_their_line(name):
    line = find_cell_line(name)
    areas, solidity = shapes_of(name).T
    assert np.median(areas) == pytest.approx(line.area_um2[1], rel=0.4)
    assert np.percentile(areas, 10) > 0.55 * line.area_um2[0]
    assert np.percentile(areas, 90) < 1.6 * line.area_um2[2]
    assert np.median(solidity) == pytest.approx(line.solidity[0], abs=0.06)


def test_dense_lines_stand_denser():
    counts = {
        name: sum(len(layout.plans) for layout in layouts_of(name))
        for name in ("HAP1", "HEK 293", "U-2 OS", "hTCEpi")
    }
    assert sorted(counts, key=counts.get, reverse=True) == ["HAP1", "HEK 293", "U-2 OS", "hTCEpi"]


def test_cells_of_a_sheet_share_their_borders_and_scattered_ones_do_not():
    sheet, scattered = (
        np.mean([border_shared(layout.cells[FRAME, FRAME]) for layout in layouts_of(name)])
        for name in ("HEK 293", "RPTEC TERT1")
    )
    assert sheet > 0.3
    assert scattered < 0.15


def test_fields_of_one_line_differ_from_scattered_to_full():
    line = find_cell_line("U-2 OS")
    thin, middle, full = (crowd_at(line, z) for z in (-2.0, 0.0, 2.0))
    assert thin < 0.6 * middle < 0.6 * full
    assert crowd_at(line, 5.0) * line.covered == pytest.approx(1.0)
    assert crowd_at(line, -9.0) > 0.1


def asked_for(line, side_um, seed):
    """How many cells a layout is asked for: its first two draws."""
    rng = np.random.default_rng(seed)
    crowd = crowd_at(line, float(rng.standard_normal()))
    area_um2 = (side_um + 2 * MARGIN_UM) ** 2
    return max(1, int(rng.poisson(line.density_per_1e4um2 * crowd * area_um2 / 1e4)))


@pytest.mark.parametrize(("name", "share"), [("HAP1", 0.3), ("HEK 293", 0.05), ("U-251 MG", 0.0)])
def test_as_many_cells_are_placed_as_were_asked_for(name, share):
    line = find_cell_line(name)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        layout = draw_layout(line, 30.0, mitotic_share=share, rng=rng)
        assert len(layout.plans) == asked_for(line, 30.0, seed)


def test_the_second_of_two_sisters_does_not_exceed_the_number(monkeypatch):
    monkeypatch.setattr("hpacells.simulate.layout._SISTERS", 1.0)
    line = find_cell_line("HeLa")
    for seed in range(6):
        rng = np.random.default_rng(seed)
        layout = draw_layout(line, 20.0, mitotic_share=1e-9, rng=rng)
        assert len(layout.plans) == asked_for(line, 20.0, seed)


def test_placing_ends_when_the_ground_is_full():
    line = find_cell_line("U-2 OS")
    tight = replace(line, covered=0.02, tuning=replace(line.tuning, crowd=40.0))
    layout = draw_layout(tight, 5.0, mitotic_share=0.0, rng=np.random.default_rng(1))
    assert 3 < len(layout.plans) < asked_for(tight, 5.0, 1)


def test_nuclei_lie_in_their_own_cells_and_never_overlap():
    for layout in layouts_of("HAP1", 1) + layouts_of("A-431", 1, mitotic_share=0.4):
        inside = layout.nuclei > 0
        assert (layout.cells[inside] == layout.nuclei[inside]).mean() > 0.99
        for first in layout.plans[:12]:
            drawn = sum(outline.area_um2 for _, outline in first.nuclei)
            number = layout.plans.index(first) + 1
            places = np.array([place for place, _ in first.nuclei])
            if places.min() > 12 and places.max() < SIDE_UM + 2 * MARGIN_UM - 12:
                found = (layout.nuclei == number).sum() * GRID_UM**2
                assert found == pytest.approx(drawn, rel=0.15)


def test_the_ground_is_wider_than_the_frame_and_cells_stand_beyond_it():
    layout = layouts_of("U-251 MG", 1)[0]
    assert layout.cells.shape == (round((SIDE_UM + 2 * MARGIN_UM) / GRID_UM),) * 2
    places = np.array([plan.nucleus_um for plan in layout.plans])
    outside = (places < MARGIN_UM).any(axis=1) | (places > MARGIN_UM + SIDE_UM).any(axis=1)
    assert outside.any()
    assert not outside.all()


def test_the_same_generator_gives_the_same_layout():
    first, second = (layouts_of("PC-3", 1, mitotic_share=0.2)[0] for _ in range(2))
    assert (first.cells == second.cells).all()
    assert (first.nuclei == second.nuclei).all()


@pytest.mark.parametrize(
    ("change", "side_um", "share", "message"),
    [
        ({}, 2.0, 0.0, "expected 5-800 µm, got 2 µm"),
        ({}, 1000.0, 0.0, "expected 5-800 µm"),
        ({}, 50.0, 1.5, "expected 0-1, got 1.5"),
        ({"density_per_1e4um2": 40.0}, 50.0, 0.0, r"at most 17\.\d cells per 10⁴ µm²"),
        ({"density_per_1e4um2": 0.0}, 50.0, 0.0, "more than 0"),
    ],
)
def test_what_cannot_be_placed_is_refused(change, side_um, share, message):
    line = replace(find_cell_line("U-2 OS"), nucleus_um2=260.0, **change)
    with pytest.raises(ConfigError, match=message):
        draw_layout(line, side_um, mitotic_share=share, rng=np.random.default_rng(0))


def test_every_line_can_be_placed_on_a_small_field():
    for line in CELL_LINES:
        layout = draw_layout(line, 20.0, mitotic_share=0.1, rng=np.random.default_rng(4))
        assert len(layout.plans) >= 1


def disc_plan(nucleus_um, body_um):
    nucleus, body = (Outline(np.full(N_ANGLES, radius)) for radius in (nucleus_um, body_um))
    return CellPlan((0.0, 0.0), (0.0, 0.0), body, (((0.0, 0.0), nucleus),), 0.0, "G1")


def test_a_full_ground_turns_cells_away():
    ground = Ground(30.0)
    rng = np.random.default_rng(0)
    placed = [ground.place([disc_plan(6.0, 7.0)], wanted_overlap=0.0, rng=rng) for _ in range(30)]
    assert 2 <= sum(placed) == len(ground.plans) < 30
    places = np.array([plan.nucleus_um for plan in ground.plans])
    between = np.hypot(*(places[:, None] - places[None]).T)[~np.eye(len(places), dtype=bool)]
    assert between.min() > 12.0


def test_a_cell_that_clings_lands_beside_another_and_a_shy_one_apart():
    gaps = {}
    for wanted in (0.0, 0.1):
        ground, rng = Ground(200.0), np.random.default_rng(2)
        for _ in range(2):
            ground.place([disc_plan(3.0, 10.0)], wanted_overlap=wanted, rng=rng)
        first, second = (np.array(plan.body_um) for plan in ground.plans)
        gaps[wanted] = np.hypot(*(first - second))
    assert gaps[0.0] > 20.0
    assert 12.0 < gaps[0.1] < 20.0


def test_a_cell_longer_than_the_rim_is_placed_at_the_edge():
    ground = Ground(6.0)
    long = replace(disc_plan(1.0, 30.0), body=Outline(np.full(N_ANGLES, 30.0), stretch=9.0))
    assert ground.place([long], wanted_overlap=0.0, rng=np.random.default_rng(0))


def plans_of(name, count=240):
    rng = np.random.default_rng(8)
    return [draw_interphase_plan(find_cell_line(name), 0.3, rng) for _ in range(count)]


def test_phase_dna_and_nucleus_go_together():
    plans = [plan for plan in plans_of("A-431") if len(plan.nuclei) == 1]
    areas = {
        phase: np.median([p.nuclei[0][1].area_um2 for p in plans if p.phase == phase])
        for phase in ("G1", "S", "G2")
    }
    assert areas["G1"] < areas["S"] < areas["G2"]
    for plan in plans:
        low, high = {"G1": (1, 1), "S": (1, 2), "G2": (2, 2)}[plan.phase]
        assert low <= plan.dna_content <= high
    share = np.mean([plan.phase == "G1" for plan in plans])
    assert 0.5 < share < 0.68  # 0.586 of a growing population


def test_some_cells_have_several_nuclei_or_a_micronucleus():
    plans = plans_of("A-431", 500)
    smallest = [min(o.area_um2 for _, o in plan.nuclei) for plan in plans]
    counts = np.array([len(plan.nuclei) for plan in plans])
    micro = np.array(
        [count == 2 and size < 15 for count, size in zip(counts, smallest, strict=True)]
    )
    assert 0.01 < micro.mean() < 0.06
    assert 0.015 < ((counts == 2) & ~micro).mean() < 0.06
    assert 0 < (counts > 2).mean() < 0.02
    several = [p for p, k, m in zip(plans, counts, micro, strict=True) if k > 1 and not m]
    assert min(plan.dna_content for plan in several) >= 2.0


def test_nuclei_lie_inside_their_bodies():
    for plan in plans_of("SH-SY5Y", 80):
        points = np.concatenate([o.points(at) for at, o in plan.nuclei]).astype(np.float32)
        ratio, _ = plan.body.depth(points[:, 0] - plan.body_um[0], points[:, 1] - plan.body_um[1])
        assert (ratio < 1.0).mean() > 0.5  # a narrow body bulges around its nucleus


def test_mitotic_cells_are_round_and_of_every_stage():
    rng = np.random.default_rng(5)
    plans = [draw_mitotic_plan(find_cell_line("U-2 OS"), 0.5, rng) for _ in range(120)]
    assert {plan.stage for plan in plans} == set(STAGES)
    for plan in plans:
        assert plan.phase == "M"
        assert plan.dna_content == 2.0
        assert len(plan.nuclei) == (2 if plan.stage in {"anaphase", "telophase"} else 1)
        away = max(np.hypot(*place) for place, _ in plan.nuclei)
        assert away < plan.pole_um < plan.body.reach_um
        if plan.stage in {"prometaphase", "metaphase"}:
            assert plan.body.reach_um < 1.5 * np.sqrt(plan.body.area_um2 / np.pi)
        chromatin = sum(outline.area_um2 for _, outline in plan.nuclei)
        assert chromatin < 0.45 * plan.body.area_um2


def test_sisters_are_alike_and_stand_side_by_side():
    first, second = draw_sister_plans(find_cell_line("HeLa"), 0.0, np.random.default_rng(1))
    assert first.body.area_um2 == pytest.approx(second.body.area_um2, rel=0.4)
    assert first.dna_content == second.dna_content == 1.0
    apart = second.nucleus_um[1] - first.nucleus_um[1]
    assert apart == pytest.approx(1.9 * np.sqrt(first.body.area_um2 / np.pi), rel=0.3)


def test_a_plan_moves_whole():
    plan = draw_mitotic_plan(find_cell_line("HeLa"), 0.0, np.random.default_rng(1))
    there = moved(plan, 10.0, -4.0)
    assert there.nucleus_um == (10.0, -4.0)
    assert there.body_um == (10.0, -4.0)
    for (before, _), (after, _) in zip(plan.nuclei, there.nuclei, strict=True):
        assert np.subtract(after, before) == pytest.approx([10.0, -4.0])


def test_shy_cells_look_for_free_ground():
    ground, rng = Ground(100.0), np.random.default_rng(4)
    for _ in range(8):
        ground.place([disc_plan(3.0, 9.0)], wanted_overlap=0.0, rng=rng)
    places = np.array([plan.body_um for plan in ground.plans])
    between = np.hypot(*(places[:, None] - places[None]).T)[~np.eye(8, dtype=bool)]
    assert between.min() > 17.5
