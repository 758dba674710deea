"""Filaments: how they walk, what they share with others of their place, how they are drawn."""

import numpy as np
import pytest

from hpacells.simulate.anatomy import CellAnatomy
from hpacells.simulate.filaments import Gait, draw_filaments, grow_paths

STRAIGHT = Gait(step_um=0.8, wobble=0.0, edge_turn=0.0, nucleus_turn=0.0, curl=0.0, align=0.0)


@pytest.fixture(scope="module")
def disc():
    """Draw a round cell of 20 µm radius without contacts, its nucleus of 4 µm in the middle."""
    rows, columns = np.indices((221, 231), dtype=np.float32)
    distance = np.hypot(rows - 110, columns - 115)
    nothing = np.zeros(distance.shape, np.float32)
    return CellAnatomy(
        number=1, box=(0, 0, 221, 231), pixel_um=0.2, body=distance < 100, nucleus=distance < 20,
        contact=nothing, direction=0.0, phase="G1", dna_content=1.0,
        centrosome=np.array([110.0, 145.0]), poles=np.zeros((0, 2)), nucleoli=nothing,
        nucleolus_centres=np.zeros((0, 2)), nucleolus_radii_um=np.zeros(0), seed=(1,),
    )  # fmt: skip


def walk(cell, *, gait, course=None, heading=0.3, count=30, length_um=12.0):
    rng = np.random.default_rng(2)
    starts = np.stack([rng.uniform(60, 160, count), np.full(count, 60.0)], axis=1)
    return grow_paths(
        cell,
        starts,
        np.full(count, heading),
        lengths_um=np.full(count, length_um),
        gait=gait,
        rng=rng,
        course=course,
    )


def last_headings(paths):
    steps = np.stack([path[-1] - path[-2] for path in paths])
    return np.arctan2(steps[:, 0], steps[:, 1])


def test_without_turns_a_path_is_straight(disc):
    for path in walk(disc, gait=STRAIGHT):
        steps = np.diff(path, axis=0)
        assert np.arctan2(steps[:, 0], steps[:, 1]) == pytest.approx(0.3, abs=1e-5)
        assert np.hypot(*steps.T) == pytest.approx(0.8 / 0.2)


@pytest.mark.parametrize("heading", [0.3, 0.3 + np.pi])
def test_aligned_paths_turn_into_the_course_or_its_opposite(disc, heading):
    gait = Gait(step_um=0.8, wobble=0.0, edge_turn=0.0, nucleus_turn=0.0, curl=0.0, align=0.3)
    course = np.full(disc.steering[1].shape[1:], 1.0, np.float32)
    plain = walk(disc, gait=STRAIGHT, course=course, heading=heading, length_um=7.0)
    assert last_headings(plain) == pytest.approx((heading + np.pi) % (2 * np.pi) - np.pi, abs=1e-5)
    paths = [p for p in walk(disc, gait=gait, course=course, heading=heading) if len(p) > 10]
    assert paths
    off = last_headings(paths) - 1.0
    assert np.abs(np.sin(off)).max() < 0.1
    assert np.sign(np.cos(off)) == pytest.approx(1.0 if heading < 1 else -1.0)


def test_edge_turn_keeps_paths_inside_longer(disc):
    lengths = [
        np.mean([len(p) for p in walk(disc, gait=gait, length_um=60.0)])
        for gait in (STRAIGHT, Gait(wobble=0.0, edge_turn=1.2, nucleus_turn=0.0, curl=0.0))
    ]
    assert lengths[1] > 1.2 * lengths[0]


def test_paths_are_drawn_inside_the_body_only(disc):
    paths = [np.array([[110.0, 5.0], [110.0, 225.0]])]
    image = draw_filaments(disc, paths, width_um=0.4, rng=np.random.default_rng(0))
    assert image.dtype == np.float32
    assert image[110, 60] > 0
    assert not image[~disc.body].any()
    assert not image[100].any()
