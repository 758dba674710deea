"""Outlines: their geometry, and the forms drawn from them."""

import numpy as np
import pytest
from skimage.draw import polygon2mask
from skimage.measure import label, points_in_poly, regionprops

from hpacells.simulate.cell_lines import CELL_LINES
from hpacells.simulate.forms import (
    Habit,
    draw_body_outline,
    draw_chromatin_outline,
    draw_nucleus_outline,
    draw_rounded_outline,
)
from hpacells.simulate.outline import N_ANGLES, Outline, axis_ratio_of, solidity_of, with_area


def shoelace(points):
    rows, columns = points.T
    return 0.5 * abs(rows @ np.roll(columns, 1) - columns @ np.roll(rows, 1))


def region_of(outline):
    """Rasterise an outline: an independent reference for its area, ratio and solidity."""
    points = outline.points((60.0, 50.0)) * 4
    return regionprops(polygon2mask((480, 400), points).astype(int))[0]


CRESCENT = Outline(np.full(N_ANGLES, 10.0), stretch=3.0, bend_per_um=0.04, direction=0.7)


def test_stretching_and_bending_keep_the_area():
    assert CRESCENT.area_um2 == pytest.approx(np.pi * 100, rel=1e-3)
    assert shoelace(CRESCENT.points()) == pytest.approx(np.pi * 100, rel=2e-3)
    assert shoelace(with_area(CRESCENT, 50.0).points((3.0, -8.0))) == pytest.approx(50, rel=2e-3)


def test_shape_figures_agree_with_those_of_the_drawn_mask():
    region = region_of(CRESCENT)
    assert region.area / 16 == pytest.approx(CRESCENT.area_um2, rel=0.01)
    assert solidity_of(CRESCENT) == pytest.approx(region.solidity, abs=0.015)
    ratio = region.axis_major_length / region.axis_minor_length
    assert axis_ratio_of(CRESCENT) == pytest.approx(ratio, rel=0.02)


def test_depth_is_one_on_the_line_and_zero_at_the_origin():
    points = CRESCENT.points().astype(np.float32)
    ratio, _ = CRESCENT.depth(points[:, 0], points[:, 1])
    assert ratio == pytest.approx(1.0, abs=1e-3)
    centre, radius = CRESCENT.depth(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))
    assert centre[0, 0] == 0
    assert radius[0, 0] == pytest.approx(10.0)


def test_depth_below_one_is_inside():
    places = np.random.default_rng(0).uniform(-22, 22, (400, 2)).astype(np.float32)
    ratio, _ = CRESCENT.depth(places[:, 0], places[:, 1])
    inside = points_in_poly(places, CRESCENT.points())
    clear = np.abs(ratio - 1) > 0.02
    assert ((ratio < 1) == inside)[clear].all()
    assert inside.sum() > 40


def test_a_circle_has_its_radius_in_every_direction():
    circle = Outline(np.full(N_ANGLES, 4.0))
    assert [circle.radius_toward(turn) for turn in (-3.0, 0.0, 1.0, 9.0)] == pytest.approx([4] * 4)
    long = Outline(np.full(N_ANGLES, 4.0), stretch=4.0, direction=np.pi / 2)
    assert long.radius_toward(np.pi / 2) == pytest.approx(8.0)
    assert long.radius_toward(0.0) == pytest.approx(2.0)
    assert long.reach_um == pytest.approx(8.0, rel=1e-3)
    assert np.ptp(long.points(), axis=0) == pytest.approx([16.0, 4.0], rel=1e-3)


@pytest.mark.parametrize("line", CELL_LINES[::4], ids=lambda line: line.name)
@pytest.mark.parametrize("tail", [0, 1])
def test_a_body_has_the_area_and_nearly_the_shape_asked_for(line, tail):
    shape = (line.axis_ratio[tail], line.solidity[tail])
    rng = np.random.default_rng(3)
    bodies = [
        draw_body_outline(700.0, shape, line.habit, direction=0.4, rng=rng) for _ in range(25)
    ]
    for body in bodies:
        assert shoelace(body.points()) == pytest.approx(700.0, rel=0.02)
    assert np.median([axis_ratio_of(body) for body in bodies]) == pytest.approx(shape[0], rel=0.08)
    assert np.median([solidity_of(body) for body in bodies]) == pytest.approx(shape[1], abs=0.04)


def test_processes_reach_farther_than_waves():
    def reach(habit):
        rng = np.random.default_rng(5)
        drawn = [
            draw_body_outline(400.0, (1.5, 0.8), habit, direction=0.0, rng=rng) for _ in range(20)
        ]
        return np.mean([body.reach_um for body in drawn])

    bare = Habit(corners=0.0, processes=0.0, lamella=0.0, bend=0.0)
    assert reach(Habit(corners=0.0, processes=2.0, lamella=0.0, bend=0.0)) > 1.15 * reach(bare)


def test_nuclei_are_smooth_and_some_are_dented_or_kidney_shaped():
    rng = np.random.default_rng(1)
    solid = np.array(
        [solidity_of(draw_nucleus_outline(200.0, 1.4, direction=1.0, rng=rng)) for _ in range(300)]
    )
    assert np.median(solid) > 0.97
    assert 0.03 < (solid < 0.985).mean() < 0.2


def test_chromatin_is_a_ragged_bar_across_the_spindle():
    plate = draw_chromatin_outline(
        30.0, 4.0, direction=np.pi / 2, bow=0.0, rng=np.random.default_rng(2)
    )
    down, right = np.ptp(plate.points(), axis=0)
    assert down > 3 * right
    assert plate.area_um2 == pytest.approx(30.0)


def test_a_furrow_pinches_the_cell_across_the_spindle():
    rng = np.random.default_rng(2)
    pinched = draw_rounded_outline(300.0, 1.8, direction=0.0, furrow=0.6, rng=rng)
    whole = draw_rounded_outline(300.0, 1.8, direction=0.0, furrow=0.0, rng=rng)
    assert pinched.radius_toward(np.pi / 2) < 0.6 * whole.radius_toward(np.pi / 2)
    assert solidity_of(whole) > 0.97
    assert label(region_of(pinched).image).max() == 1
